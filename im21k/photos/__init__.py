"""What is a photo, wherever it is? Readers of all sources, bytes to pixels, crops.

In: `open` takes a folder, an archive, a list or a data set. Out: photos, each with its
key, its class and its bytes; `images.decode` makes pixels of the bytes.
"""

from im21k.photos.photo import Photo
from im21k.photos.sources import Source, open

__all__ = ["Photo", "Source", "open"]
