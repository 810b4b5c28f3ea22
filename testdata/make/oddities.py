"""Writes those of testdata/oddities that Go's packages cannot encode, from testdata/oddities/plain.jpg.

From the repository's root: python3 testdata/make/oddities.py
What lies in the repository was made with Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp, libavif); other releases may
give other bytes for the same pictures.
"""
from pathlib import Path

from PIL import Image, ImageChops

folder = Path("testdata/oddities")
scene = Image.open(folder / "plain.jpg").convert("RGB")


def save(picture, name, **options):
    picture.save(folder / name, **options)


save(scene, "progressive.jpg", quality=88, progressive=True)
save(scene, "444.jpg", quality=85, subsampling="4:4:4")
save(scene, "422.jpg", quality=85, subsampling="4:2:2")
save(scene, "restart.jpg", quality=88, restart_marker_blocks=7)

# Inks: black as much as all three colours have in common, and of each ink what that leaves. Pillow inverts them on
# saving, as Adobe does.
def inked(pixel):
    k = 255 - max(pixel)
    return [255 * (255 - k - v) // max(255 - k, 1) for v in pixel] + [k]


inks = Image.new("CMYK", scene.size)
inks.putdata([tuple(inked(p)) for p in scene.get_flattened_data()])
c, m, y, k = inks.split()
save(inks, "cmyk.jpg", quality=85)

# YCCK: as the three colours without black would be stored, beside the inverted black; then the Adobe segment is told.
base = ImageChops.invert(Image.merge("RGB", (c, m, y)))
lum, cb, cr = ImageChops.invert(base).convert("YCbCr").split()
save(Image.merge("CMYK", [ImageChops.invert(p) for p in (lum, cb, cr)] + [k]), "ycck.jpg", quality=85)
data = bytearray((folder / "ycck.jpg").read_bytes())
adobe = data.index(b"\xff\xee") + 4
assert data[adobe : adobe + 5] == b"Adobe"
data[adobe + 11] = 2
(folder / "ycck.jpg").write_bytes(data)

save(scene, "picture.webp", quality=80)
small = scene.resize((64, 48), Image.Resampling.LANCZOS).convert("RGBA")
small.putalpha(Image.linear_gradient("L").resize((64, 48)))
save(small, "lossless.webp", lossless=True)
save(scene, "animated.webp", quality=50, save_all=True, append_images=[ImageChops.invert(scene)], duration=500)
save(scene, "picture.avif", quality=60)
