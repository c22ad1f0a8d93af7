"""The models as torch modules, one file each."""
