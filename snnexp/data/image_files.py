"""Image files on disk: listed by class folder, decoded to one mode; errors name the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from PIL import Image, UnidentifiedImageError

from snnexp.data.base import DataError

SUFFIXES = (".jpg", ".jpeg", ".png")
Mode = Literal["L", "RGB"]


def open_image(path: Path, mode: Mode) -> tuple[Image.Image, str]:
    """Decode a whole image file into `mode`; return it with the mode that the file has.

    Greyscale becomes RGB with three equal channels; CMYK, palette and transparent images are
    converted by Pillow, without a colour profile. Raises DataError, naming the file, where it is
    missing, damaged or no image.
    """
    try:
        with Image.open(path) as file:
            file.load()
            return file.convert(mode), file.mode
    # Pillow's decoders raise SyntaxError and ValueError for broken structure, too
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} cannot be decoded: {error}. Fetch the file again, or remove it from the folder"
        ) from error


def class_folders(root: Path) -> list[str]:
    """Return the names of the folders in `root`, sorted. Raises DataError where there are none."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error.strerror or error}") from error
    if not names:
        raise DataError(f"{root} has no class folders")
    return names


def image_names(folder: Path) -> list[str]:
    """Return the names of the images in `folder`, sorted. Raises DataError where there are none."""
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(folder)
            # names with a dot are what some systems leave beside a file
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
        )
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror or error}") from error
    if not names:
        raise DataError(f"{folder} has no images ({', '.join(SUFFIXES)})")
    return names
