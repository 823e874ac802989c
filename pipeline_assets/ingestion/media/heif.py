"""HEIC, the format of iPhones, as a format of Pillow. Importing this module registers it.

The decoder turns a picture as the file says (its `irot` and `imir`) and then tells EXIF orientation 1, so that nothing
turns it twice. Of a file with several pictures the primary one counts; depth maps, previews and gain maps are not read. One
thread a picture: those who decode many have threads of their own. libheif checks sizes against the file's before it
allocates.
"""

from pi_heif import HeifImageFile, register_heif_opener

__all__ = ["HeifImageFile"]

register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
