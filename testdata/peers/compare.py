"""usage: compare.py --bench bin/bench --logobeam bin/logobeam --out FOLDER [--photos FOLDER] [--quick] [--only forward,int8,train,memory,score,decode] [--settings FILE]
logobeam beside ONNX Runtime and PyTorch, on the same networks, weights and images, as Markdown tables with the ratios.

Each system runs in processes of its own that measure when they are asked to and are stopped (SIGSTOP) at all other times.
Rounds go through all measurements, ours and theirs in turns, so that a change of the machine's speed meets all alike; a table
shows medians over the rounds. What a peer runs best with (batch, layout, threads or processes, compiled or not) is found
first, for each network, and printed. Measurements during which somebody else used the machine are repeated."""
import argparse
import atexit
import fcntl
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time

import numpy as np

import network
import photographs

HERE = os.path.dirname(os.path.abspath(__file__))
NETWORKS = ["article-cnn", "squeezenet", "resnet18", "efficientnet-lite0"]
SCORED = ["article-cnn", "squeezenet"]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()

# What the environment presets for mathematics libraries would slow peers down, or tune them to another machine.
for name in list(os.environ):
    if name.startswith(("OPENBLAS_", "NVPL_", "OMP_", "MKL_", "KMP_", "GOTO_", "BLIS_", "DNNL_", "ONEDNN_", "ATEN_", "MALLOC_", "TORCH", "ORT_", "LOGOBEAM_", "GOGC", "GOMAXPROCS", "GOMEMLIMIT")):
        del os.environ[name]
# glibc gives large tensors back to the system at once, and page faults then take up to a third of PyTorch's time.
PYTORCH = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(16 << 30)}


def busy():
    """Seconds of processor time that the machine has worked, and that its host has taken from it."""
    try:
        with open("/proc/stat") as f:
            v = [int(x) for x in f.readline().split()[1:9]]
    except OSError:
        return 0.0
    return (sum(v) - v[3] - v[4]) / os.sysconf("SC_CLK_TCK")


def spent(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            v = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(x) for x in v[11:15]) / os.sysconf("SC_CLK_TCK")


class Lock:
    """A file that is locked while this program measures, for some dozens of seconds at a time, so that others have their turns."""

    def __init__(self, path):
        self.file, self.since = path and open(path, "w"), None

    def __enter__(self):
        if self.file and self.since is None:
            fcntl.flock(self.file, fcntl.LOCK_EX)
            self.since = time.time()

    def __exit__(self, *_):
        if self.file and time.time() - self.since > 40:
            fcntl.flock(self.file, fcntl.LOCK_UN)
            self.since = None
            time.sleep(0.1)


CHILDREN = []


@atexit.register
def end():
    """Leaves no stopped process behind, however this one ends."""
    for c in CHILDREN[:]:
        c.close()


class Child:
    """A process that measures. It runs only while it is asked something."""

    def __init__(self, command, cores=None, env=None):
        pin = (lambda: os.sched_setaffinity(0, cores)) if cores and hasattr(os, "sched_setaffinity") else None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=LOG, text=True, preexec_fn=pin,
                                        env=dict(os.environ, **(env or {})), cwd=HERE)
        CHILDREN.append(self)
        self.tell(do="idle")
        self.idle = self.hear()["peak_rss"]

    def tell(self, **q):
        self.process.send_signal(signal.SIGCONT)
        self.process.stdin.write(json.dumps(q) + "\n")
        self.process.stdin.flush()

    def hear(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended; see {LOG.name}")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def ask(self, **q):
        self.tell(**q)
        a = self.hear()
        if "error" in a:
            raise RuntimeError(f"{q}: {a['error']}")
        return a

    def close(self):
        CHILDREN.remove(self)
        self.process.kill()
        self.process.wait()


class System:
    """One child, or as many as there are cores, each with a core of its own, which work side by side."""

    def __init__(self, kind, threads, copies=1):
        command = {"ours": [BENCH, "--serve"], "ort": [sys.executable, "ort_peer.py"], "torch": [sys.executable, "torch_peer.py"],
                   "decode": [sys.executable, "decode_peer.py"]}[kind]
        env = PYTORCH if kind == "torch" else None
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        pins = [{c} for c in cores[-copies:]] if threads == 1 and cores else [None] * copies
        self.children = [Child(command, p, env) for p in pins]
        self.threads = threads

    def rate(self, **q):
        q["threads"] = self.threads
        for attempt in range(2):
            with LOCK:
                before, ours = busy(), [spent(c.process.pid) for c in self.children]
                start = time.perf_counter()
                for c in self.children:
                    c.tell(**q)
                answers = [c.hear() for c in self.children]
                wall = time.perf_counter() - start
                others = busy() - before - sum(spent(c.process.pid) - o for c, o in zip(self.children, ours))
            for a in answers:
                if "error" in a:
                    raise RuntimeError(f"{q}: {a['error']}")
            spare = CORES - self.threads * len(self.children)
            if others < (spare + 0.05 * CORES) * wall + 0.03:
                break
            DISTURBED.append(others / wall)
        return sum(a["rate"] for a in answers)

    def close(self):
        for c in self.children:
            c.close()


def say(text=""):
    print(text, flush=True)


def table(title, head, rows):
    say(f"\n**{title}**\n")
    say("| " + " | ".join(head) + " |")
    say("|" + "---|" + "--:|" * (len(head) - 1))
    for r in rows:
        say("| " + " | ".join(f"{c:.1f}" if isinstance(c, float) and c < 1000 else f"{c:.0f}" if isinstance(c, float) else str(c) for c in r) + " |")


def folder(arch):
    return f"{MODELS}/{arch}"


def prepare(photos):
    """Models with random weights as logobeam writes them, the same as ONNX, and the photographs' tensors."""
    ours = Child([BENCH, "--serve"])
    x = np.stack([photographs.load(p) for p in photos]).astype(np.float32)
    x = (x - np.array([123.675, 116.28, 103.53], np.float32)) / np.array([58.395, 57.12, 57.375], np.float32)
    images = f"{OUT}/images.f32"
    x.tofile(images)
    for arch in NETWORKS:
        ours.ask(do="save", arch=arch, out=MODELS)
        ours.ask(do="quantize", model=folder(arch), images=images)
        spec, weights = network.load(folder(arch))
        network.onnx_graph(spec, weights, f"{folder(arch)}/fp32.onnx")
        quantise(arch, x)
        if arch in SCORED:
            network.onnx_graph(spec, weights, f"{folder(arch)}/score.onnx", photograph=True)
    ort = Child([sys.executable, "ort_peer.py"])
    rows = []
    for arch in NETWORKS:
        outputs = {}
        for name, child, q in (("ours", ours, dict(model=folder(arch), precision="fp32")), ("ours int8", ours, dict(model=folder(arch), precision="int8")),
                               ("ort", ort, dict(onnx=f"{folder(arch)}/fp32.onnx", threads=1)), ("ort int8", ort, dict(onnx=f"{folder(arch)}/int8.onnx", threads=1))):
            child.ask(do="logits", images=images, out=f"{OUT}/logits.f32", **q)
            outputs[name] = np.fromfile(f"{OUT}/logits.f32", np.float32).reshape(len(x), -1)
        largest = np.abs(outputs["ort"]).max()
        off = {n: np.abs(v - outputs["ort"]).max() / largest for n, v in outputs.items()}
        same = {n: f"{100 * (v.argmax(1) == outputs['ort'].argmax(1)).mean():.0f} %" for n, v in outputs.items()}
        rows.append([arch, f"{off['ours']:.1e}", f"{off['ours int8']:.1e}", f"{off['ort int8']:.1e}", same["ours int8"], same["ort int8"]])
        if off["ours"] > 1e-4:
            sys.exit(f"{arch}: fp32 logits differ from ONNX Runtime's by {off['ours']:.1e} of the largest: this is not the same network")
    ours.close()
    ort.close()
    table(f"Agreement with ONNX Runtime's fp32, {len(x)} photographs: largest difference over largest logit (random weights, close calls)",
          ["network", "fp32", "int8", "ONNX Runtime int8", "int8: same top-1", "ONNX Runtime int8: same top-1"], rows)


def quantise(arch, x):
    """ONNX Runtime's own int8: static, QDQ, a scale for each output channel, ranges from the same photographs as ours."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.images = iter(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))

        def get_next(self):
            i = next(self.images, None)
            return None if i is None else {"x": i[None]}

    source, ready = f"{folder(arch)}/fp32.onnx", f"{folder(arch)}/ready.onnx"
    quant_pre_process(source, ready)
    quantize_static(ready, f"{folder(arch)}/int8.onnx", Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.remove(ready)


def best(candidates, measure):
    """The quickest of some settings, and its rate: each is measured, the two best again."""
    rates = {}
    for c in candidates:
        try:
            measure(c)  # makes what it needs
            rates[json.dumps(c)] = measure(c)
        except RuntimeError as e:  # such as no C++ compiler for torch.compile
            print("left out:", str(e)[:300], file=sys.stderr, flush=True)
    for c in sorted(rates, key=rates.get)[-2:] if len(rates) > 1 else []:
        rates[c] = (rates[c] + measure(json.loads(c))) / 2
    top = max(rates, key=rates.get)
    return json.loads(top), rates[top]


def ways(threads):
    """How a system can use the threads: one process, or one for each core."""
    return [(threads, 1)] + ([(1, threads)] if threads > 1 else [])


def tune(only):
    """The best settings of the peers: {work: {network: {system: [threads, copies, settings]}}}."""
    settings, batches = {}, [1, 8, 32, 64]

    def search(work, arch, kind, threads, candidates):
        found = []
        for way in ways(threads):
            s = System(kind, *way)
            q = dict(do="forward", seconds=0.2 if QUICK else 0.4, model=folder(arch))
            found.append((*best(candidates(way), lambda c: s.rate(**q, **c)), way))
            s.close()
        chosen, rate, way = max(found, key=lambda f: f[1])
        settings.setdefault(work, {}).setdefault(arch, {})[kind] = [*way, chosen]
        say(f"- {work} {arch} {kind}: {describe(way, chosen)}: {rate:.1f}")

    def torch(arch, threads, way):
        """Compiling takes long, so that not everything is tried: with more threads what was best with one, compiled or not."""
        eager = [dict(layout=l, mode="eager", batch=b) for l in ("nhwc", "nchw") for b in ((8, 32) if QUICK else batches)]
        compiled = [dict(layout=l, mode="compile", batch=b) for l, b in (("nchw", 8), ("nhwc", 8), ("nchw", 32))[:1 if QUICK else 3]]
        if threads == 1:
            return eager + compiled
        one = settings["forward fp32 1"][arch]["torch"][2]
        return [one] if QUICK or way[1] > 1 else eager + [c for c in [one] if c not in eager]

    for threads in sorted({1, CORES}):
        for arch in NETWORKS:
            onnx = lambda precision: [dict(onnx=f"{folder(arch)}/{precision}.onnx", batch=b) for b in batches]
            if "forward" in only:
                search(f"forward fp32 {threads}", arch, "ort", threads, lambda way: onnx("fp32"))
                search(f"forward fp32 {threads}", arch, "torch", threads, lambda way: torch(arch, threads, way))
            if "int8" in only:
                search(f"forward int8 {threads}", arch, "ort", threads, lambda way: onnx("int8"))
    if "train" in only:
        for arch in NETWORKS:
            candidates = [dict(layout=l, mode=m) for l, m in (("nhwc", "eager"), ("nchw", "eager"), ("nhwc", "compile"))]
            if QUICK:
                candidates = candidates[:1]
            for precision in ("fp32", "bf16"):
                s = System("torch", CORES)
                chosen, rate = best(candidates, lambda c: s.rate(**training(arch, precision), **c))
                s.close()
                settings.setdefault(f"train {precision}", {}).setdefault(arch, {})["torch"] = [CORES, 1, chosen]
                say(f"- train {precision} {arch} torch: {describe((CORES, 1), chosen)}: {rate:.1f}")
                candidates = [c for c in candidates if c in (chosen, candidates[0])]  # bfloat16 likes what float32 does
    return settings


def describe(way, chosen):
    threads, copies = way
    processes = f"{copies} processes of " if copies > 1 else ""
    shown = [f"batch {v}" if k == "batch" else v for k, v in chosen.items() if k != "onnx"]
    return f"{processes}{threads} thread{'s' if threads > 1 else ''}, " + ", ".join(shown)


def training(arch, precision):
    return dict(do="train", arch=arch, model=folder(arch), precision=precision, batch=40, steps=1, seconds=0, momentum=0)


class Systems(dict):
    """The systems that the rounds need, each started once."""

    def __missing__(self, key):
        self[key] = System(*key)
        return self[key]


def rounds(settings, count, only):
    systems, rates = Systems(), {}

    def measure(row, kind, way, **q):
        rates.setdefault(row, {}).setdefault(kind, []).append(systems[(kind, *way)].rate(**q))

    peaks = {}
    seconds = 0.4 if QUICK else 1.0
    for n in range(count + 1):
        if n == 1:  # the first round warms all up
            rates.clear()
            peaks.clear()
        for threads in sorted({1, CORES}):
            s = systems["ours", threads, 1]
            for precision, rate in s.children[0].ask(do="peak", threads=threads, seconds=0.2).get("peaks", {}).items():
                peaks.setdefault((precision, threads), []).append(rate)
        for work, archs in settings.items():
            does, precision = work.split()[:2]
            if {"fp32": does, "int8": "int8", "bf16": does}[precision] not in only:
                continue
            for arch, peers in archs.items():
                threads = int((work.split() + [CORES])[2])
                if does == "train":
                    q = training(arch, precision)
                    if precision == "fp32" or ("bf16", CORES) in peaks:  # else it is for patient people
                        measure((work, arch), "ours", (threads, 1), **q)
                else:
                    q = dict(do="forward", arch=arch, model=folder(arch), precision=precision, seconds=0 if n == 0 else seconds)
                    measure((work, arch), "ours", (threads, 1), **q)
                for kind, (t, copies, chosen) in peers.items():
                    measure((work, arch), kind, (t, copies), **q, **chosen)
        print(f"round {n} of {count} done", file=sys.stderr, flush=True)
    for s in systems.values():
        s.close()
    return rates, peaks


def speeds(rates):
    middle = {row: {k: statistics.median(v) for k, v in kinds.items()} for row, kinds in rates.items()}
    for work in dict.fromkeys(w for w, _ in middle):
        does, precision, *threads = work.split()
        if (does, precision) == ("train", "bf16"):
            continue
        rows = []
        for (w, arch), m in middle.items():
            if w != work:
                continue
            ours, peers = m["ours"], {k: v for k, v in m.items() if k != "ours"}
            row = [arch, ours] + [m.get(k, "") for k in ("ort", "torch") if does != "train" or k != "ort"]
            row.append(f"{ours / max(peers.values()):.2f}x")
            if does == "train":
                half = middle.get(("train bf16", arch), {})
                row += [half.get("ours", ""), half.get("torch", ""), f"{half['ours'] / half['torch']:.2f}x" if "ours" in half else ""]
            spread = rates[w, arch]["ours"]
            row.append(f"{min(spread):.1f} to {max(spread):.1f}")
            rows.append(row)
        if does == "train":
            table(f"Training step, batch 40, {CORES} threads, images a second", ["network", "logobeam", "PyTorch", "ratio", "logobeam bf16", "PyTorch bf16", "ratio", "logobeam's rounds"], rows)
        else:
            head = ["network", "logobeam", "ONNX Runtime"] + (["PyTorch"] if precision == "fp32" else []) + ["ratio to the faster", "logobeam's rounds"]
            if precision == "int8":
                rows = [r[:3] + r[4:] for r in rows]
            table(f"Forward, {precision}, {threads[0]} thread{'s' if threads[0] != '1' else ''}, images a second", head, rows)


def memory(settings):
    """Peak of a fresh process that trains: PyTorch as it comes, eager."""
    rows = []
    for arch in NETWORKS:
        sizes = {}
        for kind, command in (("ours", [BENCH, "--serve"]), ("torch", [sys.executable, "torch_peer.py"])):
            chosen = settings.get("train fp32", {}).get(arch, {}).get("torch", [0, 0, {}])[2]
            q = dict(training(arch, "fp32"), threads=CORES, steps=3, layout=chosen.get("layout", "nhwc"), mode="eager")
            c = Child(command)
            sizes[kind] = c.ask(**q)["peak_rss"] / 1e6, c.idle / 1e6  # hardly varies
            c.close()
        (a, ai), (b, bi) = sizes["ours"], sizes["torch"]
        rows.append([arch, a, b, f"{a / b:.2f}x", a - ai, b - bi, f"{(a - ai) / (b - bi):.2f}x"])
    table(f"Peak memory (RSS) of a process that trains, batch 40, {CORES} threads, MB", ["network", "logobeam", "PyTorch eager", "ratio", "logobeam less idle", "PyTorch less idle", "ratio"], rows)


def plain(data):
    """A JPEG without its colour profile, which ours would convert to sRGB and the peers leave alone."""
    kept, at = data[:2], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:  # segments, up to the first scan
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 4 : at + 16] != b"ICC_PROFILE\0":
            kept += data[at:end]
        at = end
    return kept + data[at:]


def sets(photos):
    """Folders of photographs: as they are, and enlarged until the long side has 1100 pixels, baseline and progressive."""
    import cv2

    names = {"as they are": "photos", "1100 pixels, baseline": "baseline", "1100 pixels, progressive": "progressive"}
    for name in names:
        names[name] = f"{OUT}/{names[name]}"
        shutil.rmtree(names[name], ignore_errors=True)
        os.makedirs(names[name])
    for i, photo in enumerate(photos):
        with open(photo, "rb") as f, open(f"{names['as they are']}/{i:04d}.jpg", "wb") as to:
            to.write(plain(f.read()))
        image = cv2.imread(photo)
        h, w = image.shape[:2]
        size = round(w * 1100 / max(h, w)), round(h * 1100 / max(h, w))
        image = cv2.resize(image, size, interpolation=cv2.INTER_LANCZOS4)
        for name, progressive in (("1100 pixels, baseline", 0), ("1100 pixels, progressive", 1)):
            cv2.imwrite(f"{names[name]}/{i:04d}.jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive,
                                                              cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420])
    return names


def decode(photos, count):
    """From the bytes of photographs to the pixels that a network sees, on one core."""
    import glob

    ways = ["simplejpeg", "simplejpeg, fast DCT and upsampling", "OpenCV", "torchvision"]
    rates, seconds, folders = {}, 0.3 if QUICK else 1.0, sets(photos)
    ours, peer = System("ours", 1), System("decode", 1)
    for way in ways[:]:
        try:
            peer.rate(do="decode", photos=folders["as they are"], way=way, seconds=0)
        except RuntimeError as e:
            print("left out:", str(e)[:300], file=sys.stderr, flush=True)
            ways.remove(way)
    for n in range(count + 1):
        if n == 1:  # the first round warms all up
            rates.clear()
        for name, folder in folders.items():
            for way in ways:
                rates.setdefault((name, way), []).append(peer.rate(do="decode", photos=folder, way=way, seconds=seconds))
            rates.setdefault((name, "ours"), []).append(ours.rate(do="decode", photos=folder, seconds=seconds))
    middle = {k: statistics.median(v) for k, v in rates.items()}
    rows, off = [], []
    for name, folder in folders.items():
        best = max(middle[name, w] for w in ways)
        spread = rates[name, "ours"]
        rows.append([name, middle[name, "ours"]] + [middle[name, w] for w in ways] + [f"{middle[name, 'ours'] / best:.2f}x", f"{min(spread):.1f} to {max(spread):.1f}"])
        want = []
        for f in sorted(glob.glob(f"{folder}/*.jpg")):
            with open(f, "rb") as data:
                want.append(photographs.exact(data.read()))
        psnr = []
        for child, q in [(ours.children[0], {})] + [(peer.children[0], dict(way=w)) for w in ways]:
            child.ask(do="pixels", photos=folder, out=f"{OUT}/pixels.f32", **q)
            got = np.fromfile(f"{OUT}/pixels.f32", np.float32).reshape(-1, 224, 224, 3)
            d = [10 * np.log10(255**2 / max(((g - w) ** 2).mean(), 1e-9)) for g, w in zip(got, want)]
            psnr.append(f"{statistics.median(d):.1f} / {min(d):.1f}")
        off.append([name] + psnr)
    ours.close()
    peer.close()
    table("Decode: bytes of JPEG files to 224 x 224 pixels, one core, photographs a second (the peers do not normalise)",
          ["photographs", "logobeam"] + ways + ["ratio to the fastest", "logobeam's rounds"], rows)
    table("How near that is to decoding all of a photograph and resizing with antialiasing, PSNR in dB, median / worst", ["photographs", "logobeam"] + ways, off)
    say("\nPeers round the place of the crop in other ways: those by OpenCV's resize lie up to half a pixel elsewhere, torchvision's sometimes a whole one.")


def run(command):
    with LOCK:
        start = time.perf_counter()
        p = subprocess.run(command, cwd=HERE, stdout=LOG, stderr=LOG)
        seconds = time.perf_counter() - start
    if p.returncode:
        raise RuntimeError(f"{command[:3]} failed; see {LOG.name}")
    return seconds


def score(photos, count):
    """From a listing of files to a Parquet file, the whole command. A short listing beside the long one tells start-up apart."""
    want = 300 if QUICK else 1000
    photos = (photos * (want // len(photos) + 1))[:want]
    listings = {}
    for n in (want // 5, want):
        listings[n] = f"{OUT}/posts-{n}.csv"
        with open(listings[n], "w") as f:
            f.write("post_id,image\n" + "".join(f"{i},{p}\n" for i, p in enumerate(photos[:n])))
    few, many = listings

    def ours(arch, precision, n):
        shutil.rmtree(f"{OUT}/scored", ignore_errors=True)
        return run([LOGOBEAM, "score", listings[n], "--model", folder(arch), "--precision", precision, "--out", f"{OUT}/scored"])

    def peer(arch, n, mode, batch):
        return run([sys.executable, "score_peer.py", listings[n], f"{folder(arch)}/score.onnx", f"{OUT}/scored.parquet",
                    "--mode", mode, "--workers", str(CORES), "--batch", str(batch)])

    rows = []
    for arch in [n for n in SCORED if n in NETWORKS]:
        ways = [(m, b) for m in ("procs", "threads") for b in ((8, 32) if arch == "article-cnn" else (4, 16))]
        way = min(ways, key=lambda w: peer(arch, few, *w))
        say(f"\nscore {arch}: the peer runs fastest with {CORES} {way[0]}, batch {way[1]}")
        times = {}
        for n in range(count):
            for name, f in (("int8", lambda k: ours(arch, "int8", k)), ("fp32", lambda k: ours(arch, "fp32", k)), ("peer", lambda k: peer(arch, k, *way))):
                for k in (few, many):
                    times.setdefault((name, k), []).append(f(k))
        t = {k: statistics.median(v) for k, v in times.items()}
        steady = {n: (many - few) / max(t[n, many] - t[n, few], 1e-9) for n in ("int8", "fp32", "peer")}
        whole = {n: many / t[n, many] for n in steady}
        rows.append([arch, steady["int8"], steady["fp32"], steady["peer"], f"{steady['int8'] / steady['peer']:.2f}x", f"{steady['fp32'] / steady['peer']:.2f}x",
                     f"{whole['int8'] / whole['peer']:.2f}x"])
    table(f"Score, files to Parquet, {CORES} cores, photographs a second (start-up apart; {many} photographs)",
          ["network", "logobeam int8", "logobeam fp32", "Python, ONNX Runtime fp32", "ratio int8", "ratio fp32", "int8, whole command"], rows)


def processor():
    try:
        with open("/proc/cpuinfo") as f:
            return next(l.split(":")[1].strip() for l in f if l.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))
    global NETWORKS, BENCH, LOGOBEAM, OUT, MODELS, LOG, LOCK, QUICK, DISTURBED
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--bench", required=True)
    a.add_argument("--logobeam", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--photos", default=os.path.join(HERE, "..", "classes"))
    a.add_argument("--arch", default=",".join(NETWORKS), help="networks, with commas")
    a.add_argument("--rounds", type=int)
    a.add_argument("--quick", action="store_true")
    a.add_argument("--only", default="forward,int8,train,memory,score,decode")
    a.add_argument("--settings", help="the peers' best settings: read if it is there, else found and written")
    a.add_argument("--lock", help="a file to lock (flock) during each measurement, where other programs measure too")
    a = a.parse_args()
    LOCK = Lock(a.lock)
    BENCH, LOGOBEAM, OUT, QUICK, DISTURBED = os.path.abspath(a.bench), os.path.abspath(a.logobeam), os.path.abspath(a.out), a.quick, []
    MODELS = f"{OUT}/models"
    os.makedirs(MODELS, exist_ok=True)
    LOG = open(f"{OUT}/peers.log", "w")
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{OUT}/inductor"
    NETWORKS = a.arch.split(",")
    only, count = a.only.split(","), a.rounds or (3 if a.quick else 5)
    photos = sorted(os.path.join(os.path.abspath(d), f) for d, _, files in os.walk(a.photos) for f in files if f.lower().endswith((".jpg", ".jpeg")))
    if not photos:
        sys.exit(f"{a.photos}: no photographs (.jpg) in this folder")
    import onnxruntime
    import torch
    say(f"{processor()}, {CORES} cores; ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}; medians of {count} interleaved rounds")
    if set(only) - {"decode"}:
        prepare(photos[::max(len(photos) // 32, 1)][:32])
    if set(only) & {"forward", "int8", "train"}:
        if a.settings and os.path.exists(a.settings):
            with open(a.settings) as f:
                settings = json.load(f)
        else:
            say("\nThe peers' settings that were fastest here, and their rates then:\n")
            settings = tune(only)
            with open(a.settings or f"{OUT}/settings.json", "w") as f:
                json.dump(settings, f, indent=1)
        rates, peaks = rounds(settings, count, only)
        with open(f"{OUT}/rates.json", "w") as f:
            json.dump([[*row, kinds] for row, kinds in rates.items()], f, indent=1)
        table("Peaks measured in the same rounds, GOP/s (fp32 and bf16: GFLOP/s)", ["threads", "fp32", "int8", "bf16"],
              [[n] + [max(peaks[p, n]) if (p, n) in peaks else "not measured" for p in ("fp32", "int8", "bf16")] for n in sorted({1, CORES})])
        speeds(rates)
    else:
        settings = {}
    if "decode" in only:
        decode(photos[::max(len(photos) // 64, 1)][:64], count)
    if "memory" in only:
        memory(settings)
    if "score" in only:
        score(photos, count)
    if DISTURBED:
        say(f"\n{len(DISTURBED)} measurements were repeated since other programs used up to {max(DISTURBED):.1f} cores meanwhile (each once).")


if __name__ == "__main__":
    main()
