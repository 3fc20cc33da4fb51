"""The eight methods that the paper compares itself with (Tables III and IV), and modern heads, one file each.

A file holds a method's network, loss and decoding, and nothing else. `baseline.Baseline` is their interface;
training loop, data, features and metrics are the same as for the paper's own model. `sequences` is the common
part of the recurrent methods. A new baseline is a file here, a settings dataclass and a line of the
registry, both in `msmm.configs.baselines`. `map_head` is the base of the modern heads, which read maps and
have a registry of their own, `msmm.configs.modern`.
"""
