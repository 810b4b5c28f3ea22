"""What is done to a photograph before the network sees it: as logobeam does by default, decode, short side to 256, the middle
224 x 224, mean and deviation; with the quickest libraries there are for it in Python."""
import csv

import cv2
import numpy as np
import simplejpeg

cv2.setNumThreads(1)  # there is a process or a thread for each core already


def read_listing(path):
    with open(path, newline="") as f:
        return [(r["post_id"], r["image"]) for r in csv.DictReader(f)]


def decode(data, **options):
    """RGB; a JPEG at a half or a quarter while the short side stays at 256 or more, which libjpeg-turbo does fastest."""
    if data[:2] == b"\xff\xd8":
        h, w = simplejpeg.decode_jpeg_header(data)[:2]
        s = 1
        while s < 4 and min(h, w) // (2 * s) >= 256:
            s *= 2
        return simplejpeg.decode_jpeg(data, "RGB", min_height=-(-h // s), min_width=-(-w // s), **options) if s > 1 else simplejpeg.decode_jpeg(data, "RGB", **options)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError("not a photograph")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def load(path):
    """uint8 [224][224][3]"""
    with open(path, "rb") as f:
        return crop(decode(f.read()))


def crop(image):
    """The middle 224 x 224 of an image, were its short side 256: only they are resized."""
    h, w = image.shape[:2]
    side = 224 / 256 * min(h, w)
    top, left = round((h - side) / 2), round((w - side) / 2)
    part = image[top:top + round(side), left:left + round(side)]
    return cv2.resize(part, (224, 224), interpolation=cv2.INTER_AREA if side > 224 else cv2.INTER_LINEAR)


def exact(data):
    """float64 [224][224][3]: all of a photograph decoded, and resized as Pillow's BILINEAR and torchvision's antialias=True do,
    with a triangle as wide as the shrinking asks for."""
    image = simplejpeg.decode_jpeg(data, "RGB").astype(np.float64)
    h, w = image.shape[:2]
    to = (256, 256 * w // h) if h <= w else (256 * h // w, 256)
    for axis in (0, 1):
        n, outs = image.shape[axis], to[axis]
        first = (outs - 224) // 2
        center = (np.arange(first, first + 224) + 0.5) * n / outs
        k = np.maximum(1 - np.abs(np.arange(n) + 0.5 - center[:, None]) / max(n / outs, 1), 0)
        image = np.moveaxis(np.tensordot(k / k.sum(1, keepdims=True), image, (1, axis)), 0, axis)
    return image
