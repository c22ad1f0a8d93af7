"""The token mixers as torch modules, one file each: (B, N, D) to (B, N, D).

Names of tensors end in their axes: B images, N tokens, D channels, H heads,
C channels of a head, K key depth, V value depth.
"""
