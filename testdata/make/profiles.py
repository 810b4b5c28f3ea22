"""Writes transforms/testdata/icc.json: colour profiles, and what LittleCMS makes of colours in them. Beside it files that
hold one of the profiles, and animated PNGs.

From the repository's root: python3 testdata/make/profiles.py
What lies in the repository was made with Pillow 13.0.0 and LittleCMS 2.19; other releases may differ by one code.
The profiles are made here from published primaries, so no copyright of another is in them.
"""

import base64
import io
import json
import struct

from PIL import Image, ImageCms

D50 = (0.9642, 1.0, 0.8249)  # as the ICC rounds it
D65 = (0.3127, 0.3290)


def multiply(a, b):
    return [[sum(a[i][k] * b[k][j] for k in range(3)) for j in range(len(b[0]))] for i in range(3)]


def inverse(m):
    (a, b, c), (d, e, f), (g, h, i) = m
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return [[(e * i - f * h) / det, (c * h - b * i) / det, (b * f - c * e) / det],
            [(f * g - d * i) / det, (a * i - c * g) / det, (c * d - a * f) / det],
            [(d * h - e * g) / det, (b * g - a * h) / det, (a * e - b * d) / det]]


def xyz(x, y):
    return [x / y, 1.0, (1 - x - y) / y]


def colorants(primaries, white):
    """XYZ of the primaries relative to D50: Bradford's adaptation, as ICC.1:2022 annex E has it."""
    columns = [list(r) for r in zip(*[xyz(*p) for p in primaries])]
    w = [[v] for v in xyz(*white)]
    scale = multiply(inverse(columns), w)
    m = [[columns[i][j] * scale[j][0] for j in range(3)] for i in range(3)]
    bradford = [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    source, target = multiply(bradford, w), multiply(bradford, [[v] for v in D50])
    cone = [[target[i][0] / source[i][0] if i == j else 0 for j in range(3)] for i in range(3)]
    return multiply(multiply(multiply(inverse(bradford), cone), bradford), m)


def fixed(v):
    return struct.pack(">i", round(v * 65536))


def para(kind, *parameters):
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + b"".join(fixed(p) for p in parameters)


def curv(*values):
    data = b"curv" + bytes(4) + struct.pack(">I%dH" % len(values), len(values), *values)
    return data + bytes(-len(data) % 4)


def profile(primaries, white, curve, version=4):
    m = colorants(primaries, white)
    text = b"text" + bytes(4) + b"CC0\0" if version == 2 else b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 6, 28) + "CC0".encode("utf-16-be")
    desc = b"desc" + bytes(4) + struct.pack(">I", 4) + b"CC0\0" + bytes(79) if version == 2 else text
    tags = [(b"desc", desc), (b"cprt", text), (b"wtpt", b"XYZ " + bytes(4) + b"".join(fixed(v) for v in D50)), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve)]
    tags += [(c + b"XYZ", b"XYZ " + bytes(4) + b"".join(fixed(m[i][j]) for i in range(3))) for j, c in enumerate((b"r", b"g", b"b"))]
    table, body, places = struct.pack(">I", len(tags)), b"", {}
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags:
        if data not in places:
            places[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", places[data], len(data))
    size = start + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"none", version << 24, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp" + bytes(28) + b"".join(fixed(v) for v in D50)
    return head + bytes(128 - len(head)) + table + body


SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
REC2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
SRGB_CURVE = para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def srgb(v):
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4


profiles = {
    "sRGB": profile(SRGB, D65, SRGB_CURVE),
    "sRGB, its curve as a table of 1024": profile(SRGB, D65, curv(*[round(65535 * srgb(i / 1023)) for i in range(1024)]), 2),
    "sRGB as LittleCMS makes it": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "Display P3": profile(P3, D65, SRGB_CURVE),
    "Adobe RGB": profile(ADOBE, D65, curv(563), 2),
    "ProPhoto RGB": profile(PROPHOTO, (0.3457, 0.3585), para(3, 1.8, 1, 0, 1 / 16, 1 / 32)),
    "Rec. 2020": profile(REC2020, D65, para(4, 1 / 0.45, 1 / 1.0993, 0.0993 / 1.0993, 1 / 4.5, 0.08145, 0, 0)),
    "sRGB primaries, gamma 2.2": profile(SRGB, D65, para(0, 2.2)),
    "sRGB primaries, linear": profile(SRGB, D65, curv(), 2),
    "sRGB primaries, gamma 1.8 as a table of 256": profile(SRGB, D65, curv(*[round(65535 * (i / 255) ** 1.8) for i in range(256)]), 2),
    "sRGB primaries, gamma 2 from above a tenth": profile(SRGB, D65, para(1, 2, 1 / 0.9, -0.1 / 0.9)),
    "sRGB primaries, gamma 2 with black raised": profile(SRGB, D65, para(2, 2, 0.93, 0.02, 0.09)),
}

colours = [(0, 0, 0), (255, 255, 255), (128, 128, 128), (20, 20, 20), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 40), (30, 160, 60),
           (20, 60, 200), (250, 200, 10), (120, 90, 60), (230, 190, 170), (10, 5, 2), (64, 128, 192), (180, 175, 170)]

out = []
target = ImageCms.createProfile("sRGB")
for name, icc in profiles.items():
    picture = Image.new("RGB", (len(colours), 1))
    picture.putdata(colours)
    done = ImageCms.profileToProfile(picture, ImageCms.ImageCmsProfile(io.BytesIO(icc)), target, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=ImageCms.Flags.NOOPTIMIZE)
    out.append({"name": name, "icc": base64.b64encode(icc).decode(), "from": [list(c) for c in colours], "to": [list(c) for c in done.getdata()]})

with open("transforms/testdata/icc.json", "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(o) for o in out) + "\n]\n")

picture = Image.open("transforms/testdata/reference.png").convert("RGB")
for file, options in {"p3.jpg": {"quality": 95, "subsampling": 0}, "p3.png": {}, "p3.webp": {"lossless": True}, "p3.tiff": {"compression": "tiff_adobe_deflate"}}.items():
    picture.save("transforms/testdata/" + file, icc_profile=profiles["Display P3"], **options)
# Animations: three frames, of which the first is the picture. In the second PNG the picture stands before the animation, as
# what programs show that know none.
frames = [picture, picture.rotate(180), picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
frames[0].save("transforms/testdata/animated.png", save_all=True, append_images=frames[1:], duration=100)
frames[0].save("transforms/testdata/animated-default.png", save_all=True, append_images=frames[1:], duration=100, default_image=True)
