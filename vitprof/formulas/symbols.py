"""Names of sizes in formulas that are no options, in words."""

from __future__ import annotations

OWN = frozenset({"in", "out"})  # names of which each layer has its own

_OF_STAGE = {  # with the number of the stage after the name
    "D": "channels of a token",
    "N": "tokens of an image",
    "rows": "rows of tokens",
    "columns": "columns of tokens",
}
MEANINGS = {
    "B": "images at a time",
    "N": "tokens of an image",
    "in": "input channels",
    "out": "output channels",
    "heads": "heads of each mixer",
    "head dim": "channels of a head",
    "hidden": "channels within the MLP",
    "patches": "patches of an image",
    "kept": "patches that the encoder reads",
    "prefix tokens": "tokens in front of the patches",
    "places": "patches of a video at each step in time",
    "kept places": "patches of each step in time that the encoder reads",
    "steps": "patches along the frames of a video",
    "rows": "rows of patches",
    "columns": "columns of patches",
    "width": "width of the image in pixels",
    "patch width": "width of a patch in pixels",
    "frames": "frames of a video",
    "tubelet": "frames of a patch",
    "kv heads": "heads of keys and values",
    "keys": "keys and values of an image",
    "key rows": "rows of keys and values",
    "key columns": "columns of keys and values",
    "group": "heads that share a key and a value",
    "v": "channels of a value",
    "windows": "windows of an image",
    "window rows": "rows of windows, the last one completed",
    "window columns": "columns of windows, the last one completed",
    "row offsets": "offsets of two rows",
    "column offsets": "offsets of two columns",
    "frequencies": "frequencies that are kept of a row",
    "columns mod 2": "1 if the columns are odd, else 0",
    "G": "hidden channels of the gated MLP",
    "G/2": "channels of the gate",
    "H": "height of the images in pixels",
    "W": "width of the images in pixels",
    "S": "height and width of the images in pixels",
}


def meaning_of(name: str) -> str:
    """Return the meaning of a name in words; empty if it has none here."""
    bare = name.rstrip("0123456789")
    if bare != name and bare in _OF_STAGE:
        return f"{_OF_STAGE[bare]} in stage {name.removeprefix(bare)}"
    return MEANINGS.get(name, "")
