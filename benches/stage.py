"""The stage of benches/compare: source, store, database, long way, and the service, each a process that is
ours alone, on a free loopback port, and gone with the block that it was started in."""

import contextlib
import datetime
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

MIB = 1024 * 1024
SECRET = "benches-secret-token"
BUCKET = "recordings"
# Of the private MinIO: made up, and good for it alone.
ACCESS_KEY = SECRET_KEY = "zoom-archiver-benches"
ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PATIENCE = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, process=None, patience=PATIENCE, rest=0.05):
    """Waits for a condition and returns what it gave; fails when time or the process is over."""
    end = time.monotonic() + patience
    while True:
        found = condition()
        if found:
            return found
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"{what}: the process ended with {process.returncode}")
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {patience} s")
        time.sleep(rest)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status < 400
    except OSError:
        return False


@contextlib.contextmanager
def running(command, log, stop=signal.SIGTERM, **options):
    """A server for as long as the block lasts."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.send_signal(stop)
        process.wait()


# --- Source -----------------------------------------------------------------------------------------------


def write_mp4(path, length, seed, sparse=False):
    """A file that is MP4 in its outer structure: types and lengths of its boxes, and a body of noise (or of
    nothing, which costs no disk). Returns its SHA-256; None for one of nothing."""

    def box(kind, content):
        return (8 + len(content)).to_bytes(4, "big") + kind + content

    head = box(b"ftyp", b"isom\0\0\2\0isomiso2") + box(b"moov", box(b"mvhd", bytes(100)))
    body = length - len(head)
    head += (1).to_bytes(4, "big") + b"mdat" + body.to_bytes(8, "big")
    with open(path, "wb") as file:
        if sparse:
            file.write(head)
            file.truncate(length)
            return None
        digest = hashlib.sha256()
        noise, left, number = random.Random(seed).randbytes(min(MIB, length)), length, 0
        while left:
            piece = head if number == 0 else number.to_bytes(8, "big") + noise[8:]
            piece = piece[:left]
            file.write(piece)
            digest.update(piece)
            left, number = left - len(piece), number + 1
        return digest.hexdigest()


# What begins the command of a server that stands for one on another machine: it gets what time ours leaves. Linux shares the
# processors between sessions first (sched(7), "The autogroup feature"), and PostgreSQL begins one for each connection: so
# these need one of their own too, and stand back as a whole.
ASIDE = ["setsid", "nice", "-n", "19", "sh", "-c", '{ echo 19 > /proc/self/autogroup; } 2> /dev/null; exec "$@"', "aside"]


@contextlib.contextmanager
def nginx(root, work, before=()):
    """Serves a folder; yields the address. `before` begins the command."""
    port = free_port()
    settings = work / "nginx.conf"
    temporary = " ".join(f"{kind}_temp_path {work}/nginx-{kind};" for kind in
                         ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    settings.write_text(f"""
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; autoindex on; keepalive_requests 1000000;
    default_type video/mp4; {temporary}
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}""")
    command = [*before, os.environ["NGINX_BIN"], "-e", f"{work}/nginx.log", "-p", work, "-c", settings]
    with running(command, work / "nginx.out") as process:
        until(lambda: answers(f"http://127.0.0.1:{port}/"), "nginx", process)
        yield f"127.0.0.1:{port}"


@contextlib.contextmanager
def slow_way(address, round_trip_ms, bytes_per_sec):
    """A long way to an address; yields where it begins."""
    command = [TARGET / "examples" / "slow_way", address, str(round_trip_ms), str(bytes_per_sec)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


# --- Store and database -----------------------------------------------------------------------------------


class Store:
    """A private MinIO with one empty bucket."""

    def __init__(self, port, data, process):
        self.endpoint, self.data, self.process = f"http://127.0.0.1:{port}", data, process
        self.env = {
            "AWS_ENDPOINT_URL_S3": self.endpoint, "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_EC2_METADATA_DISABLED": "true",
            # For s5cmd.
            "S3_ENDPOINT_URL": self.endpoint,
            # For rclone, which has no file of settings here.
            "RCLONE_CONFIG": "", "RCLONE_CONFIG_STORE_TYPE": "s3", "RCLONE_CONFIG_STORE_PROVIDER": "Minio",
            "RCLONE_CONFIG_STORE_ENV_AUTH": "true", "RCLONE_CONFIG_STORE_ENDPOINT": self.endpoint,
        }

    def rclone(self, *arguments, **options):
        command = [os.environ["RCLONE_BIN"], *arguments]
        return subprocess.run(command, env=environment(self.env), check=True, capture_output=True, **options).stdout

    def objects(self):
        """Length of every object, by key."""
        listed = json.loads(self.rclone("lsjson", "-R", "--files-only", "--no-modtime", "--no-mimetype",
                                        f"store:{BUCKET}"))
        return {entry["Path"]: entry["Size"] for entry in listed}

    def sha256(self, key):
        command = [os.environ["RCLONE_BIN"], "cat", f"store:{BUCKET}/{key}"]
        with subprocess.Popen(command, env=environment(self.env), stdout=subprocess.PIPE) as process:
            return hashlib.file_digest(process.stdout, "sha256").hexdigest()


def environment(more):
    """Nothing of what happens to be set here, but where programs and their caches are."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "RUST_LOG") if name in os.environ}
    return {**kept, **more}


@contextlib.contextmanager
def minio(work, data=None, before=()):
    """A MinIO that is new, and whose data go with it: below `work`, where no other place is named. `before` begins the
    command."""
    port, data = free_port(), data or work / "minio"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    env = environment({"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off",
                       "MINIO_UPDATE": "off", "HOME": str(work)})
    command = [*before, os.environ["MINIO_BIN"], "server", "--quiet", "--address", f"127.0.0.1:{port}", data]
    try:
        with running(command, work / "minio.log", env=env) as process:
            until(lambda: answers(f"http://127.0.0.1:{port}/minio/health/ready"), "MinIO", process)
            store = Store(port, data, process)
            store.rclone("mkdir", f"store:{BUCKET}")
            yield store
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextlib.contextmanager
def postgres(work, *settings):
    """A PostgreSQL with its defaults; yields the URL of an empty database."""
    programs, data, port = pathlib.Path(os.environ["POSTGRES_BIN"]), work / "postgres", free_port()
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    options = {"cwd": "/"}
    if os.geteuid() == 0:
        # It refuses to run as root.
        owner = pwd.getpwnam("postgres")
        os.chown(data, owner.pw_uid, owner.pw_gid)
        options |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    subprocess.run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
                   check=True, capture_output=True, **options)
    url = f"postgres://postgres@127.0.0.1:{port}/postgres"
    command = [programs / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
               "-c", "unix_socket_directories=", *settings]

    def ready():
        probe = [programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        return subprocess.run(probe, capture_output=True).returncode == 0

    try:
        # SIGQUIT: the data are thrown away next.
        with running(command, work / "postgres.log", stop=signal.SIGQUIT, **options) as process:
            until(ready, "PostgreSQL", process)
            yield url
    finally:
        shutil.rmtree(data, ignore_errors=True)


# --- Programs that are measured ---------------------------------------------------------------------------


class Measured:
    """A program under GNU time: what it used is known when it has ended."""

    def __init__(self, name, command, work, **options):
        self.report = work / f"{name}.time"
        self.began = time.time()
        time_command = ["/usr/bin/time", "--quiet", "--output", self.report, "--format", "%e %U %S %M"]
        self.process = subprocess.Popen([*time_command, *command], **options)
        self.name = name

    def poll(self):
        return self.process.poll()

    @property
    def returncode(self):
        return self.process.returncode

    def signal(self, number):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), number)

    def usage(self, patience=3600):
        """Waits for its end; wall and CPU in seconds, peak memory in bytes."""
        if self.process.wait(patience) != 0:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}")
        wall, user, system, kib = self.report.read_text().split()
        return {"wall": float(wall), "cpu": float(user) + float(system), "peak": int(kib) * 1024}

    def kill(self):
        with contextlib.suppress(OSError):
            self.signal(signal.SIGKILL)
        self.process.wait()


class Service:
    """Our service, with its own data directory and what the caller sets."""

    def __init__(self, work, settings):
        self.work, self.data = work, work / "service"
        shutil.rmtree(self.data, ignore_errors=True)
        self.env = environment({
            "ZOOM_WEBHOOK_SECRET_TOKEN": SECRET,
            "ZOOM_ARCHIVER_DATA_DIR": str(self.data),
            "ZOOM_ARCHIVER_HTTP__LISTEN": "127.0.0.1:0",
            "ZOOM_ARCHIVER_HTTP__ADMIN_LISTEN": "127.0.0.1:0",
            **settings,
        })

    @contextlib.contextmanager
    def serve(self, *arguments):
        """Runs it; `self.measured` and the addresses are there when it is ready."""
        log = self.work / "service.log"
        with open(log, "wb") as out:
            command = [TARGET / "zoom-archiver", "serve", "--log-format", "json", *arguments]
            self.measured = Measured("service", command, self.work, env=self.env, stdout=out, stderr=out)
        try:
            ready = until(lambda: re.search(rb'.*"message":"ready".*', log.read_bytes()), "service", self.measured)
            ready = json.loads(ready.group())
            self.address, self.admin_address = ready["http.addr"], ready["http.admin_addr"]
            self.describe = ready["store"]
            yield self
        finally:
            if self.measured.poll() is None:
                self.measured.kill()

    def stop(self):
        self.measured.signal(signal.SIGTERM)
        return self.measured.usage(60)

    def post(self, bodies):
        """Sends events, signed as Zoom does, one after another on one connection."""
        host, port = self.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        for body in bodies:
            timestamp = str(int(time.time()))
            digest = hmac.new(SECRET.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256).hexdigest()
            headers = {"x-zm-request-timestamp": timestamp, "x-zm-signature": f"v0={digest}",
                       "content-type": "application/json"}
            connection.request("POST", "/webhooks/zoom", body, headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the webhook answered {answer.status}")
        connection.close()

    def outcomes(self):
        """How the transfers of this process ended so far."""
        with urllib.request.urlopen(f"http://{self.admin_address}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        found = re.findall(r'^zoom_archiver_jobs_total\{([^}]*)\} (\d+)', text, re.M)
        outcomes = {}
        for labels, count in found:
            labels = dict(re.findall(r'(\w+)="(\w+)"', labels))
            if labels["kind"] == "transfer":
                outcomes[labels["outcome"]] = outcomes.get(labels["outcome"], 0) + int(count)
        return outcomes

    def wait_for(self, files, rest, patience=3600):
        """Waits until so many transfers are done; any other end is told."""
        until(lambda: self.outcomes().get("done", 0) >= files, "transfers", self.measured, patience, rest)
        others = {outcome: count for outcome, count in self.outcomes().items() if outcome != "done"}
        if others:
            print(f"note: transfers that ended otherwise: {others}")

    def files(self):
        command = [TARGET / "zoom-archiver", "files", "list", "--json"]
        listed = subprocess.run(command, env=self.env, check=True, capture_output=True).stdout
        return [json.loads(line) for line in listed.splitlines()]


def last_archived(files):
    """When the last of some files was archived, as the database says, in seconds since 1970."""
    return max(datetime.datetime.fromisoformat(file["archived_at"].replace("Z", "+00:00")).timestamp()
               for file in files)


def event(number, files):
    """A `session.recording_completed` that announces files, given as (URL, length)."""
    start = "2026-01-02T03:04:05Z"
    entries = [{
        "id": f"file-{number}-{index}", "file_type": "MP4", "file_extension": "MP4", "status": "completed",
        "recording_type": "shared_screen_with_speaker_view", "recording_start": start,
        "recording_end": "2026-01-02T04:04:05Z", "file_size": length, "download_url": url,
    } for index, (url, length) in enumerate(files)]
    session = {
        "session_id": f"session-{number}", "session_name": f"Session {number}", "session_key": f"key-{number}",
        "host_id": "host", "start_time": start, "timezone": "UTC", "duration": 60,
        "recording_count": len(entries), "total_size": sum(length for _, length in files),
        "recording_files": entries,
    }
    return json.dumps({
        "event": "session.recording_completed", "event_ts": int(time.time() * 1000),
        "download_token": "benches-download-token",
        "payload": {"account_id": "benches", "object": session},
    }).encode()
