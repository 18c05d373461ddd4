"""The rounds and the tables of benches/compare, which says what they are; stage.py has the processes."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import stage
from stage import BUCKET, MIB, Measured, Service

GIB = 1024 * MIB
OURS = "zoom-archiver"

Sizes = collections.namedtuple("Sizes", "large small_files small_bytes way_bytes huge rounds")
FULL = Sizes(4 * GIB, 2000, 20 * 1024, 128 * MIB, 40 * GIB, 5)
QUICK = Sizes(256 * MIB, 400, 20 * 1024, 16 * MIB, GIB, 1)

# The long way of part c.
ROUND_TRIP_MS, BYTES_PER_SEC = 40, 5 * MIB
# Files of one session in part b.
FILES_PER_SESSION = 8


class Bench:
    """Where the rounds run, and what they have measured so far."""

    def __init__(self, work, sizes):
        self.work, self.sizes = work, sizes
        self.results = collections.defaultdict(list)
        self.missed = []
        # Source files in memory where there is room, so that the disk is the store's alone.
        memory = pathlib.Path("/dev/shm")
        roomy = memory.is_dir() and shutil.disk_usage(memory).free > 3 * sizes.large
        self.source = pathlib.Path(tempfile.mkdtemp(prefix="zoom-archiver-benches.", dir=memory if roomy else work))

    def rounds(self, runs):
        """Each run once in a round, in turn, so that all of them meet the same weather."""
        for number in range(self.sizes.rounds):
            for name, run in runs.items():
                # What one run has left for the disk to do is no other one's.
                os.sync()
                result = run(first=number == 0)
                self.results[name].append(result)
                words = ", ".join(f"{key} {value:.4g}" for key, value in result.items())
                print(f"  round {number + 1}, {name}: {words}", file=sys.stderr, flush=True)

    def median(self, name, key):
        return statistics.median(result[key] for result in self.results[name])

    def goal(self, what, value, least=None, most=None):
        """Says whether a goal is reached; where one is not, the benchmark ends with 1."""
        bound = f"at least {least:g}" if most is None else f"at most {most:g}"
        is_reached = value >= least if most is None else value <= most
        print(f"Goal: {what} {bound}: {value:.2f}, {'reached' if is_reached else 'NOT REACHED'}", flush=True)
        if not is_reached:
            self.missed.append(what)

    def ratio(self, name, rival, key):
        """Of ours to a rival's, as the median over the pairs."""
        pairs = zip(self.results[name], self.results[rival])
        return statistics.median(ours[key] / theirs[key] for ours, theirs in pairs)


def table(head, rows):
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |")
    print(flush=True)


def check(objects, files, total):
    """That there are so many objects with so many bytes in all."""
    found = {key: length for key, length in objects.items() if not key.endswith("recording.json")}
    if (len(found), sum(found.values())) != (files, total):
        raise RuntimeError(f"{len(found)} objects of {sum(found.values())} bytes, not {files} of {total}")
    return found


def check_content(store, key, sha256):
    if store.sha256(key) != sha256:
        raise RuntimeError(f"the object {key} is not the file")


def settings_for(store, *origins):
    """Of the service, to carry from some origins into the store."""
    return {**store.env, "ARCHIVE_URL": f"s3://{BUCKET}",
            "ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS": ",".join(f"http://{origin}" for origin in origins)}


def carry(work, settings, bodies, files, rest=0.2):
    """Our service from the posting of events to the last archived file: its usage, and its rows."""
    service = Service(work, settings)
    with service.serve():
        began = time.time()
        service.post(bodies)
        service.wait_for(files, rest)
        usage = service.stop()
        rows = service.files()
    usage["wall"] = stage.last_archived(rows) - began
    return usage, rows


# --- a: one large file ------------------------------------------------------------------------------------


def part_a(bench):
    work, length = bench.work, bench.sizes.large
    (bench.source / "a").mkdir()
    sha256 = stage.write_mp4(bench.source / "a" / "large.mp4", length, 1)
    with stage.nginx(bench.source, work) as source:
        url = f"http://{source}/a/large.mp4"

        def ours(ranges, more=None):
            def run(first):
                with stage.minio(work) as store:
                    settings = settings_for(store, source) | {"ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT": str(ranges)}
                    usage, rows = carry(work, settings | (more or {}), [stage.event(1, [(url, length)])], 1)
                    if [row["sha256"] for row in rows] != [sha256]:
                        raise RuntimeError("the row has another SHA-256")
                    found(store, first)
                    return usage
            return run

        def rclone(first):
            with stage.minio(work) as store:
                command = [os.environ["RCLONE_BIN"], "copyurl", url, f"store:{BUCKET}/large.mp4"]
                usage = Measured("rclone", command, work, env=stage.environment(store.env)).usage()
                found(store, first)
                return usage

        def piped(name, *command):
            """What reads from a pipe, and curl before it."""
            def run(first):
                with stage.minio(work) as store:
                    env = stage.environment(store.env)
                    curl = Measured("curl", ["curl", "-sSf", url], work, env=env, stdout=subprocess.PIPE)
                    copy = Measured(name, command, work, env=env, stdin=curl.process.stdout)
                    curl.process.stdout.close()
                    copied, fetched = copy.usage(), curl.usage()
                    found(store, first)
                    return {"wall": copied["wall"], "cpu": copied["cpu"] + fetched["cpu"],
                            "peak": copied["peak"] + fetched["peak"]}
            return run

        def found(store, first):
            objects = check(store.objects(), 1, length)
            if first:
                check_content(store, *objects, sha256)

        # Over plain http, as here, bodies are signed; over https, where TLS guards them, they are not.
        unsigned = {"ZOOM_ARCHIVER_ARCHIVE__S3__SIGN_BODY": "off"}
        rival, target = "a rclone copyurl", f"s3://{BUCKET}/large.mp4"
        aws = piped("aws", os.environ["AWS_BIN"], "s3", "cp", "--only-show-errors", "-", target)
        s5cmd = piped("s5cmd", os.environ["S5CMD_BIN"], "--log", "error", "pipe", target)
        names = {f"a {OURS}, ranges_in_flight = 1": ours(1), f"a {OURS}, ranges_in_flight = 4": ours(4),
                 f"a {OURS}, ranges_in_flight = 1, sign_body = off": ours(1, unsigned),
                 rival: rclone, "a curl \\| aws s3 cp -": aws, "a curl \\| s5cmd pipe": s5cmd}
        bench.rounds(names)
    shutil.rmtree(bench.source / "a")
    rows = []
    for name in names:
        row = [name[2:], f"{bench.median(name, 'wall'):.1f}",
               f"{bench.median(name, 'cpu') * GIB / length:.2f}", f"{bench.median(name, 'peak') / MIB:.0f}"]
        rows.append(row + [f"{bench.ratio(name, rival, key):.2f}" for key in ("wall", "cpu", "peak")])
    table([f"one file of {amount(length)}", "wall s", "CPU s per GiB", "peak MiB",
           "wall over rclone's", "CPU over rclone's", "peak over rclone's"], rows)


# --- b: many small files ----------------------------------------------------------------------------------


def part_b(bench):
    work, count, length = bench.work, bench.sizes.small_files, bench.sizes.small_bytes
    folder = bench.source / "b"
    folder.mkdir()
    digests = {}
    for number in range(count):
        digests[f"{number:05}.mp4"] = stage.write_mp4(folder / f"{number:05}.mp4", length, number)
    names = list(digests)
    with stage.nginx(bench.source, work) as source:
        urls = [(f"http://{source}/b/{name}", length) for name in names]
        bodies = [stage.event(number, urls[number:number + FILES_PER_SESSION])
                  for number in range(0, count, FILES_PER_SESSION)]

        def rate(wall):
            return {"wall": wall, "rate": count / wall}

        def found(store, rows=None):
            check(store.objects(), count, count * length)
            for name in names[::count // 5]:
                key = name
                if rows is not None:
                    row = next(row for row in rows if row["sha256"] == digests[name])
                    key = row["object_key"]
                check_content(store, key, digests[name])

        def as_they_come(database):
            def run(first):
                with stage.minio(work) as store, database() as more:
                    usage, rows = carry(work, settings_for(store, source) | more, bodies, count)
                    found(store, rows)
                    return usage | rate(usage["wall"])
            return run

        def queued(database):
            def run(first):
                with stage.minio(work) as store, database() as more:
                    service = Service(work, settings_for(store, source) | more)
                    with service.serve("--roles", "receiver"):
                        service.post(bodies)
                        service.stop()
                    with service.serve("--roles", "worker,scheduler"):
                        service.wait_for(count, 0.2)
                        usage = service.stop()
                    rows = service.files()
                    found(store, rows)
                    return usage | rate(stage.last_archived(rows) - service.measured.began)
            return run

        def rclone(first):
            with stage.minio(work) as store:
                env = store.env | {"RCLONE_CONFIG_SOURCE_TYPE": "http", "RCLONE_CONFIG_SOURCE_URL": f"http://{source}/"}
                command = [os.environ["RCLONE_BIN"], "copy", "--transfers", "8", "source:b", f"store:{BUCKET}"]
                usage = Measured("rclone", command, work, env=stage.environment(env)).usage()
                found(store)
                return usage | rate(usage["wall"])

        @contextlib.contextmanager
        def sqlite():
            yield {}

        @contextlib.contextmanager
        def postgres():
            with stage.postgres(work) as url:
                yield {"DATABASE_URL": url}

        runs = {
            "b SQLite, queued": queued(sqlite),
            "b PostgreSQL, queued": queued(postgres),
            "b rclone copy": rclone,
            "b SQLite, as events come": as_they_come(sqlite),
            "b PostgreSQL, as events come": as_they_come(postgres),
        }
        bench.rounds(runs)
    shutil.rmtree(folder)
    rows = []
    for name in runs:
        title = name[2:] if "rclone" in name else f"{OURS}, {name[2:]}"
        rows.append([title, f"{bench.median(name, 'rate'):.0f}", f"{bench.median(name, 'cpu') * 1000 / count:.2f}",
                     f"{bench.median(name, 'peak') / MIB:.0f}", f"{bench.ratio(name, 'b rclone copy', 'rate'):.2f}"])
    table([f"{count} files of {amount(length)}", "files per second", "CPU ms per file", "peak MiB",
           "files per second, over rclone's"], rows)


# --- c: a long way ----------------------------------------------------------------------------------------


def part_c(bench):
    work, length = bench.work, bench.sizes.way_bytes
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "slow_way"], cwd=stage.ROOT, check=True)
    folder = bench.source / "c"
    folder.mkdir()
    digests = [stage.write_mp4(folder / f"{number}.mp4", length, number) for number in range(8)]
    with stage.nginx(bench.source, work) as near, \
            stage.slow_way(near, ROUND_TRIP_MS, BYTES_PER_SEC) as source:

        def ours(files, ranges):
            body = stage.event(1, [(f"http://{source}/c/{number}.mp4", length) for number in range(files)])

            def run(first):
                with stage.minio(work) as store:
                    more = {"ZOOM_ARCHIVER_TRANSFER__RANGES_IN_FLIGHT": str(ranges)}
                    usage, rows = carry(work, settings_for(store, source) | more, [body], files)
                    check(store.objects(), files, files * length)
                    if {row["sha256"] for row in rows} != set(digests[:files]):
                        raise RuntimeError("a row has another SHA-256")
                    return usage | {"rate": files * length / usage["wall"]}
            return run

        def rclone(files):
            names = [argument for number in range(files) for argument in ("--include", f"{number}.mp4")]

            def run(first):
                with stage.minio(work) as store:
                    env = store.env | {"RCLONE_CONFIG_SOURCE_TYPE": "http", "RCLONE_CONFIG_SOURCE_URL": f"http://{source}/"}
                    command = [os.environ["RCLONE_BIN"], "copy", "--transfers", "8", *names, "source:c", f"store:{BUCKET}"]
                    usage = Measured("rclone", command, work, env=stage.environment(env)).usage()
                    check(store.objects(), files, files * length)
                    return usage | {"rate": files * length / usage["wall"]}
            return run

        for files in (8, 1):
            many = "eight files at once" if files == 8 else "one file"
            runs = {f"c{files} {OURS}, ranges_in_flight = {ranges}": ours(files, ranges) for ranges in (1, 2, 4)}
            rival = f"c{files} rclone copy"
            runs[rival] = rclone(files)
            bench.rounds(runs)
            rows = [[name[3:], f"{bench.median(name, 'wall'):.1f}", f"{bench.median(name, 'rate') / MIB:.1f}",
                     f"{bench.ratio(name, rival, 'rate'):.2f}",
                     f"{bench.median(name, 'cpu') * GIB / files / length:.2f}", f"{bench.median(name, 'peak') / MIB:.0f}"]
                    for name in runs]
            table([f"{many} of {amount(length)}, {ROUND_TRIP_MS} ms there and back, "
                   f"{amount(BYTES_PER_SEC)}/s for each connection", "wall s", "MiB/s", "over rclone's",
                   "CPU s per GiB", "peak MiB"], rows)
    shutil.rmtree(folder)


# --- d: checksums alone -----------------------------------------------------------------------------------


def part_d(bench):
    quick = ["--warm-up-time", "0.5", "--measurement-time", "1"] if bench.sizes is QUICK else []
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "hashing", "--", "--noplot", *quick],
                   cwd=stage.ROOT, check=True, stdout=sys.stderr)
    rows = []
    for algorithm in ("sha256", "crc64nvme", "md5"):
        row = [algorithm]
        for length in (20 * 1024, 8 * MIB):
            report = stage.TARGET.parent / "criterion" / "hashing" / algorithm / str(length) / "new" / "estimates.json"
            seconds = json.loads(report.read_text())["median"]["point_estimate"] / 1e9
            row += [f"{length / seconds / MIB:.0f}", f"{seconds * GIB / length:.2f}"]
        rows.append(row)
    table(["one core", "MiB/s of 20 KiB", "s per GiB", "MiB/s of 8 MiB", "s per GiB"], rows)


# --- e: memory --------------------------------------------------------------------------------------------


def part_e(bench):
    work, large, huge = bench.work, bench.sizes.large, bench.sizes.huge
    folder = bench.source / "e"
    folder.mkdir()
    stage.write_mp4(folder / "large.mp4", large, 1)
    for number in range(8):
        (folder / f"{number}.mp4").symlink_to("large.mp4")
    sparse = work / "huge.mp4"
    stage.write_mp4(sparse, huge, 1, sparse=True)
    (folder / "huge.mp4").symlink_to(sparse)
    rows = []

    def run(title, names, length, directory):
        with contextlib.ExitStack() as stack:
            if directory:
                place = work / "archive"
                settings = {"ARCHIVE_URL": f"file://{place}", "ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS": f"http://{source}"}
                stack.callback(shutil.rmtree, place, ignore_errors=True)
            else:
                store = stack.enter_context(stage.minio(work))
                settings = settings_for(store, source)
            bodies = [stage.event(1, [(f"http://{source}/e/{name}", length) for name in names])]
            usage, archived = carry(work, settings, bodies, len(names), rest=1)
            if directory:
                objects = {str(path): path.stat().st_size for path in place.rglob("*.mp4")}
            else:
                objects = store.objects()
            check(objects, len(names), len(names) * length)
        print(f"  {title}: {usage}", file=sys.stderr, flush=True)
        gib = len(names) * length / GIB
        rows.append([title, f"{usage['peak'] / MIB:.0f}", f"{usage['cpu'] / gib:.2f}", f"{usage['wall']:.0f}"])

    with stage.nginx(bench.source, work) as source:
        for directory, place in ((False, "MinIO"), (True, "a directory")):
            run(f"eight files of {amount(large)} at once, into {place}", [f"{n}.mp4" for n in range(8)], large, directory)
            run(f"one file of {amount(huge)}, into {place}", ["huge.mp4"], huge, directory)
    sparse.unlink()
    shutil.rmtree(folder)
    table(["", "peak MiB", "CPU s per GiB", "wall s"], rows)


# --- The whole --------------------------------------------------------------------------------------------


def amount(length):
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if length % size == 0:
            return f"{length // size} {unit}"
    return f"{length} bytes"


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    return (done.stdout or done.stderr).strip().splitlines()[0]


def go_version(program):
    """What a Go program was built from, where it does not know itself."""
    built = subprocess.run(["go", "version", "-m", program], capture_output=True, text=True).stdout.splitlines()
    return next((line.split()[2] for line in built if line.split()[:1] == ["mod"]), "of unknown version")


def versions():
    """The machine, and what is measured on it. Programs of which no one has asked are not named."""
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    sha = "with SHA instructions" if "sha_ni" in flags.split() else "without SHA instructions"
    commit = first_line("git", "-C", str(stage.ROOT), "describe", "--always", "--dirty", "--abbrev=12")
    print(f"Machine: {os.cpu_count()} × {cpu} ({platform.machine()}, {sha}), {memory:.0f} GiB, "
          f"{platform.system()} {platform.release().split('-')[0]}.")
    named = {
        "RCLONE_BIN": lambda program: f"rclone {go_version(program)}",
        "AWS_BIN": lambda program: first_line(program, "--version").split()[0].replace("/", " "),
        "S5CMD_BIN": lambda program: f"s5cmd {go_version(program)}",
        "NGINX_BIN": lambda program: first_line(program, "-v").split(": ")[1].replace("/", " "),
        "MINIO_BIN": lambda program: f"MinIO {go_version(program)}",
        "POSTGRES_BIN": lambda programs: f"PostgreSQL {first_line(programs + '/postgres', '--version').split()[2]}",
    }
    found = [name(os.environ[variable]) for variable, name in named.items() if variable in os.environ]
    print(f"Versions: zoom-archiver at {commit}, {', '.join(found)}, "
          f"{first_line('curl', '--version').split(' (')[0]}.")


def main(name, parts, full, quick):
    """Runs parts of a benchmark, each a function of a [Bench]."""
    parser = argparse.ArgumentParser(prog=name)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(parts)}; all where none is named")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"pairs to run ({full.rounds})")
    parser.add_argument("--quick", action="store_true", help="less of everything, and one round")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    sizes = quick if arguments.quick else full
    if arguments.rounds:
        sizes = sizes._replace(rounds=arguments.rounds)
    # A signal ends the blocks, and so what they have started.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    work = pathlib.Path(tempfile.mkdtemp(prefix="zoom-archiver-benches."))
    # PostgreSQL, which does not run as root, must get through.
    work.chmod(0o711)
    bench = Bench(work, sizes)
    try:
        versions()
        print(f"Rounds: {sizes.rounds}; medians, ratios as medians over the pairs.", flush=True)
        for part in arguments.parts or parts:
            print(f"part {part}", file=sys.stderr, flush=True)
            parts[part](bench)
    finally:
        shutil.rmtree(bench.source, ignore_errors=True)
        shutil.rmtree(work, ignore_errors=True)
    if bench.missed and not arguments.quick:
        sys.exit(1)


if __name__ == "__main__":
    main("benches/compare", {"a": part_a, "b": part_b, "c": part_c, "d": part_d, "e": part_e}, FULL, QUICK)
