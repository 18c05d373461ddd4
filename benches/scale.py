"""The rounds and the tables of benches/scale, which says what they are; stage.py has the processes."""

import collections
import contextlib
import json
import os
import pathlib
import re
import shutil
import sqlite3
import subprocess
import threading
import time
import urllib.request

import compare
import stage
from compare import GIB, table
from stage import BUCKET, SECRET, TARGET, Service

Sizes = collections.namedtuple("Sizes", "events alone finished waiting claims drained idle_secs rate_secs large rounds")
FULL = Sizes(12_800, 640, 1_000_000, 100_000, 400, 100_000, 120, 30, 4 * GIB, 5)
QUICK = Sizes(1_280, 64, 20_000, 5_000, 50, 4_000, 10, 5, GIB // 2, 1)

CLIENTS = 64
FILES = 4
# Jobs that one claim asks for in parts b and c.
CLAIMED = 8


def program(name):
    return pathlib.Path(os.environ["POSTGRES_BIN"]) / name


def sql(url, text):
    command = [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", text]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def database(url, name):
    """Another database on the same server, with our schema."""
    sql(url, f"CREATE DATABASE {name}")
    made = url.rsplit("/", 1)[0] + "/" + name
    migrate(made)
    return made


def migrate(url):
    command = [TARGET / "zoom-archiver", "migrate"]
    subprocess.run(command, env=stage.environment({"DATABASE_URL": url}), check=True, capture_output=True)


def load(*arguments):
    command = [TARGET / "examples" / "load", *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(done.splitlines()[-1])


# --- a: events --------------------------------------------------------------------------------------------

# What `Store::record` writes of one session of four files, by an own statement for each table, in one transaction.
PGBENCH = """
\\set n random(1, 1000000000000000)
BEGIN;
INSERT INTO recordings (id, account_id, kind, instance_id, topic, start_time, metadata, announced_at, topic_at,
    told_at, state, state_at)
VALUES (gen_random_uuid(), 'benches', 'video_sdk', 'session-' || :n::text, 'Session ' || :n::text, now(), '{metadata}',
    now(), now(), now(), 'completed', now()) RETURNING id AS recording \\gset
INSERT INTO events (id, received_at, name, body, recording_id)
VALUES (gen_random_uuid(), now(), 'session.recording_completed', convert_to('{body}', 'UTF8'), :recording)
RETURNING id AS event \\gset
WITH file AS (
    INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension, recording_start,
        announced_bytes, metadata, download_url, download_token, state, first_event_id, announced_at)
    SELECT gen_random_uuid(), :recording, 'recording_files', 'file-' || :n::text || '-' || number,
        'shared_screen_with_speaker_view', 'MP4', 'MP4', now(), 123456789, '{file}',
        'https://zoom.us/recording/webhook_download/' || :n::text || '-' || number, 'benches-download-token', 'pending',
        :event, now()
    FROM generate_series(1, {files}) number
    RETURNING id
)
INSERT INTO jobs (id, kind, subject, account, state, run_at)
SELECT gen_random_uuid(), 'transfer', id, 'benches', 'waiting', now() FROM file;
COMMIT;
"""


def pgbench_script(work, url):
    """With values as long as ours: taken from what the service has written."""
    row = sql(url, """SELECT json_build_object('metadata', recordings.metadata::text, 'file', files.metadata::text,
        'body', encode(events.body, 'escape'))
        FROM recordings JOIN files ON recording_id = recordings.id JOIN events ON events.id = first_event_id LIMIT 1""")
    # A colon before a word is a variable to pgbench.
    values = {name: re.sub(r":(?=\w)", ": ", text.replace("'", "''")) for name, text in json.loads(row).items()}
    text = PGBENCH
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    script = work / "pgbench.sql"
    script.write_text(text.replace("{files}", str(FILES)))
    return script


def part_a(bench):
    work, sizes = bench.work, bench.sizes
    first = [0]

    def flood(address, clients, events):
        first[0] += events
        report = load("flood", address, SECRET, clients, events, FILES, first[0] - events)
        return {"rate": report["per_second"], "p50": report["p50_ms"], "p99": report["p99_ms"]}

    def pgbench(script, url, clients, events):
        command = [program("pgbench"), "--no-vacuum", "--protocol", "prepared", "--client", clients, "--jobs",
                   min(clients, 2), "--transactions", events // clients, "--log", "--log-prefix", work / "pgbench-log",
                   "--file", script, url]
        done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True, cwd=work).stdout
        times = []
        for log in work.glob("pgbench-log*"):
            times += [int(line.split()[2]) / 1000 for line in log.read_text().splitlines()]
            log.unlink()
        times.sort()
        rate = float(re.search(r"tps = ([\d.]+) \(without", done).group(1))
        return {"rate": rate, "p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}

    with stage.postgres(work) as server:
        ours, rival = database(server, "ours"), database(server, "rival")
        service, embedded = Service(work, {"DATABASE_URL": ours}), Service(work / "embedded", {})
        (work / "embedded").mkdir()
        with service.serve("--roles", "receiver"), embedded.serve("--roles", "receiver"):
            flood(service.address, 1, 1)
            script = pgbench_script(work, ours)
            runs = {}
            for clients, events in ((CLIENTS, sizes.events), (1, sizes.alone)):
                for name, run in {
                    "PostgreSQL": lambda first, c=clients, n=events: flood(service.address, c, n),
                    "pgbench": lambda first, c=clients, n=events: pgbench(script, rival, c, n),
                    "SQLite": lambda first, c=clients, n=events: flood(embedded.address, c, n),
                }.items():
                    runs[f"a {clients} {name}"] = run
            bench.rounds(runs)
        for url in (ours, rival):
            if sql(url, f"SELECT count(*) = {FILES} * (SELECT count(*) FROM events) FROM jobs") != "t":
                raise RuntimeError("there are not four jobs for each event")
    rows = []
    for name in runs:
        _, clients, what = name.split()
        title = "pgbench, the same inserts" if what == "pgbench" else f"zoom-archiver, {what}"
        rows.append([title, clients, f"{bench.median(name, 'rate'):.0f}",
                     f"{bench.ratio(name, f'a {clients} pgbench', 'rate'):.2f}",
                     f"{bench.median(name, 'p50'):.1f}", f"{bench.median(name, 'p99'):.1f}"])
    table([f"events of {FILES} files", "clients", "per second", "over pgbench's", "p50 ms", "p99 ms"], rows)
    bench.goal(f"events from {CLIENTS} clients, over pgbench's", bench.ratio(f"a {CLIENTS} PostgreSQL", f"a {CLIENTS} pgbench", "rate"),
               least=1.0)


# --- b: the claim -----------------------------------------------------------------------------------------

ACCOUNTS = 3


def fill(finished, waiting):
    """Jobs as SQL that both databases read, with `series(number)` as a table."""
    return f"""
        INSERT INTO jobs (id, kind, subject, account, state, run_at, finished_at {{more}})
        SELECT {{uuid}}, 'transfer', {{uuid}}, 'account-' || number % {ACCOUNTS},
            CASE WHEN number <= {finished} THEN 'done' ELSE 'waiting' END, {{now}},
            CASE WHEN number <= {finished} THEN {{now}} END {{more_values}}
        FROM ({{series}}) series"""


def fill_postgres(url, finished, waiting):
    series = f"SELECT generate_series(1, {finished + waiting}) AS number"
    sql(url, fill(finished, waiting).format(uuid="gen_random_uuid()", now="now()", series=series, more="", more_values=""))
    sql(url, "VACUUM ANALYZE jobs")


def fill_sqlite(path, finished, waiting):
    migrate(f"sqlite:{path}")
    series = (f"WITH RECURSIVE n (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM n "
              f"WHERE number < {finished + waiting}) SELECT number FROM n")
    now = int(time.time() * 1000)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        # To SQLite before 3.45, which Python may have, no JSON at all is bad JSON.
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(fill(finished, waiting).format(
            uuid="randomblob(16)", now=now, series=series, more=", created_at, updated_at", more_values=f", {now}, {now}"))


def part_b(bench):
    work, sizes = bench.work, bench.sizes
    few = sizes.claims * CLAIMED
    rows = []

    def compare_claims(name, deep, shallow):
        def run(first):
            deep_times, shallow_times = load("claim", deep, shallow, sizes.claims // sizes.rounds, CLAIMED)
            bench.results[f"b {name} shallow"].append(shallow_times)
            return deep_times
        bench.rounds({f"b {name} deep": run})
        for depth, title in (("deep", f"{sizes.finished} finished, {sizes.waiting} waiting"),
                             ("shallow", f"nothing finished, {few} waiting")):
            key = f"b {name} {depth}"
            rows.append([name, title, f"{bench.median(key, 'p50_ms'):.2f}", f"{bench.median(key, 'p99_ms'):.2f}",
                         f"{bench.ratio(key, f'b {name} shallow', 'p50_ms'):.2f}",
                         f"{bench.ratio(key, f'b {name} shallow', 'p99_ms'):.2f}"])

    with stage.postgres(work) as server:
        deep, shallow = database(server, "deep"), database(server, "shallow")
        fill_postgres(deep, sizes.finished, sizes.waiting)
        fill_postgres(shallow, 0, few)
        compare_claims("PostgreSQL", deep, shallow)
    deep, shallow = work / "deep.db", work / "shallow.db"
    fill_sqlite(deep, sizes.finished, sizes.waiting)
    fill_sqlite(shallow, 0, few)
    compare_claims("SQLite", f"sqlite:{deep}", f"sqlite:{shallow}")
    for path in (deep, shallow):
        path.unlink()
    table([f"a claim of {CLAIMED} jobs", "of", "p50 ms", "p99 ms", "p50 over the other's", "p99 over the other's"], rows)
    for name in ("PostgreSQL", "SQLite"):
        for key in ("p50_ms", "p99_ms"):
            bench.goal(f"{name}, {key[:3]} of a claim among many over that among few",
                       bench.ratio(f"b {name} deep", f"b {name} shallow", key), most=1.5)


# --- c: four processes ------------------------------------------------------------------------------------


def part_c(bench):
    sizes, processes = bench.sizes, 4
    with stage.postgres(bench.work) as server:
        url = database(server, "drained")
        fill_postgres(url, 0, sizes.drained)
        command = [TARGET / "examples" / "load", "drain", url, str(CLAIMED)]
        drains = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        outputs = [None] * processes
        readers = [threading.Thread(target=lambda n=n, p=p: outputs.__setitem__(n, p.communicate()[0].splitlines()))
                   for n, p in enumerate(drains)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        seconds = max(json.loads(output[-1])["seconds"] for output in outputs)
        ids = [line for output in outputs for line in output[:-1]]
        shares = ", ".join(str(len(output) - 1) for output in outputs)
        left = sql(url, "SELECT count(*) FROM jobs WHERE state <> 'done'")
    if len(set(ids)) != sizes.drained or len(ids) != sizes.drained or left != "0":
        raise RuntimeError(f"{len(ids)} claims of {len(set(ids))} jobs, {left} left, of {sizes.drained}")
    table([f"{processes} processes, {CLAIMED} jobs to a claim", "jobs claimed", "more than once", "left", "jobs per second",
           "each took"], [["PostgreSQL", len(ids), len(ids) - len(set(ids)), left, f"{sizes.drained / seconds:.0f}", shares]])


# --- d: doing nothing -------------------------------------------------------------------------------------


def usage_of(process):
    """CPU in seconds and resident bytes, of the process that is timed."""
    child = pathlib.Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text().split()[0]
    fields = pathlib.Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks, int(fields[21]) * os.sysconf("SC_PAGE_SIZE")


def part_d(bench):
    rows, seconds = [], bench.sizes.idle_secs
    with stage.postgres(bench.work) as server:
        ours = database(server, "idle")
        # What all statements of a minute are: pg_stat_database is told of them within a second or so.
        count = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'idle'"
        for name, settings in (("PostgreSQL", {"DATABASE_URL": ours}), ("SQLite", {})):
            service, starts = Service(bench.work, settings), []
            for _ in range(5):
                began = time.monotonic()
                with service.serve():
                    starts.append(time.monotonic() - began)
                    service.stop()
            with service.serve():
                time.sleep(10)
                cpu, _ = usage_of(service.measured)
                before = int(sql(server, count))
                time.sleep(seconds)
                queries = int(sql(server, count)) - before
                after, resident = usage_of(service.measured)
                service.stop()
            rows.append([name, f"{resident / stage.MIB:.0f}", f"{(after - cpu) / seconds * 100:.2f}",
                         f"{queries * 60 / seconds:.0f}" if "DATABASE_URL" in settings else "-",
                         f"{sorted(starts)[2] * 1000:.0f}"])
    table(["doing nothing", "resident MiB", "CPU %", "queries per minute", "start to ready, ms"], rows)


# --- e: answers under load --------------------------------------------------------------------------------


def part_e(bench):
    sizes, work, rate = bench.sizes, bench.work, 200
    folder = bench.source / "e"
    folder.mkdir()
    stage.write_mp4(folder / "large.mp4", sizes.large, 1)
    # In use, Zoom and the bucket are on other machines: then they have no part in what waits for this one's disk and
    # processors.
    places = {"aside": (bench.source / "minio", stage.ASIDE), "on the same disk and processors": (work / "minio", ())}

    def answers(place, database_of):
        data, before = places[place]

        def run(first):
            with stage.nginx(bench.source, work, before) as source, stage.postgres(work) as server, \
                    stage.minio(work, data, before) as store:
                # Four at once, so the flood's own files wait behind them.
                settings = compare.settings_for(store, source) | {"ZOOM_ARCHIVER_WORKER__CONCURRENCY": "4"}
                service = Service(work, settings | database_of(server))
                with service.serve():
                    files = [(f"http://{source}/e/large.mp4?{number}", sizes.large) for number in range(4)]
                    service.post([stage.event(1, files)])
                    stage.until(lambda: running(service) >= 4, "four transfers", service.measured)
                    with Disk(work) as disk:
                        report = load("flood", service.address, SECRET, CLIENTS, rate * sizes.rate_secs, FILES, 10, rate)
                    busy = running(service)
                    service.measured.kill()
            return {"rate": report["per_second"], "p50": report["p50_ms"], "p99": report["p99_ms"],
                    "longest": report["max_ms"], "disk": disk.p99(), "busy": busy}
        return run

    databases = {"PostgreSQL": lambda server: {"DATABASE_URL": database(server, "answers")}, "SQLite": lambda server: {}}
    names = []
    # One place after the other: what a bucket on this disk has written is on the disk's mind for minutes.
    for place in places:
        runs = {f"e {name}, source and bucket {place}": answers(place, database_of) for name, database_of in databases.items()}
        bench.rounds(runs)
        names += runs
    shutil.rmtree(folder)
    rows = [[name[2:], f"{bench.median(name, 'rate'):.0f}"]
            + [f"{bench.median(name, key):.1f}" for key in ("p50", "p99", "longest", "disk")]
            + [f"{bench.median(name, 'busy'):.0f}"] for name in names]
    table([f"{rate} events per second", "answered per second", "p50 ms", "p99 ms", "longest ms",
           "p99 of fdatasync ms", "transfers at the end"], rows)
    for name in databases:
        bench.goal(f"{name}, source and bucket aside, p99 in ms", bench.median(f"e {name}, source and bucket aside", "p99"), most=50)


class Disk(threading.Thread):
    """What the disk makes everybody wait: a file that grows by a block and is brought to disk, again and again, for as
    long as the block lasts."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.path, self.times, self.ended = work / "disk", [], threading.Event()

    def run(self):
        with open(self.path, "wb", buffering=0) as file:
            while not self.ended.wait(0.02):
                file.write(bytes(8192))
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                self.times.append((time.perf_counter() - began) * 1000)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.join()
        self.path.unlink()

    def p99(self):
        return sorted(self.times)[len(self.times) * 99 // 100]


def running(service):
    with urllib.request.urlopen(f"http://{service.admin_address}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    found = re.findall(r'^zoom_archiver_jobs\{([^}]*)\} (\d+)', text, re.M)
    return sum(int(count) for labels, count in found if 'kind="transfer"' in labels and 'state="running"' in labels)


if __name__ == "__main__":
    compare.main("benches/scale", {"a": part_a, "b": part_b, "c": part_c, "d": part_d, "e": part_e}, FULL, QUICK)
