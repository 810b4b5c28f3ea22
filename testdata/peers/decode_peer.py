"""Photographs to the 224 x 224 pixels that a network sees, by libraries for Python, one measurement for each line of JSON that
it reads. What comes out are bytes: the peers need not normalise. See compare.py."""
import glob
import time

import cv2
import numpy as np
import simplejpeg

import photographs
from serve import serve

REDUCED = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}


def simple(data):
    return photographs.crop(photographs.decode(data))


def simple_fast(data):
    """The least exact settings of libjpeg-turbo."""
    return photographs.crop(photographs.decode(data, fastdct=True, fastupsample=True))


def opencv(data):
    """At a half, a quarter or an eighth while the short side stays at 256 or more."""
    h, w = simplejpeg.decode_jpeg_header(data)[:2]
    s = 1
    while s < 8 and min(h, w) // (2 * s) >= 256:
        s *= 2
    image = cv2.imdecode(np.frombuffer(data, np.uint8), REDUCED.get(s, cv2.IMREAD_COLOR))
    return cv2.cvtColor(photographs.crop(image), cv2.COLOR_BGR2RGB)


def torchvision(data):
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg
    from torchvision.transforms.v2 import functional

    torch.set_num_threads(1)
    image = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
    image = functional.resize(image, [256], antialias=True)
    return functional.center_crop(image, [224, 224]).permute(1, 2, 0).contiguous().numpy()


ways = {"simplejpeg": simple, "simplejpeg, fast DCT and upsampling": simple_fast, "OpenCV": opencv, "torchvision": torchvision}
files = {}


def read(folder):
    if folder not in files:
        files[folder] = [open(name, "rb").read() for name in sorted(glob.glob(f"{folder}/*.jpg"))]
    return files[folder]


def decode(q):
    way, data = ways[q["way"]], read(q["photos"])
    start, done = time.perf_counter(), 0
    while True:
        for d in data:
            way(d)
        done += len(data)
        t = time.perf_counter() - start
        if t >= q["seconds"]:
            return {"rate": done / t}


def pixels(q):
    np.stack([ways[q["way"]](d) for d in read(q["photos"])]).astype(np.float32).tofile(q["out"])
    return {}


serve({"decode": decode, "pixels": pixels})
