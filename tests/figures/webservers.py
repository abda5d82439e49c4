"""What else takes uploads: nginx by DAV PUT, and the tus reference server of Node; both on the disk of the corpora."""

import getpass
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.figures.processes import RunFailed, install, missing
from tests.peers import Program, free_port

PINNED = {"@tus/server": "2.4.5", "@tus/file-store": "2.1.1"}
NGINX = """
daemon off;
{user}
worker_processes auto;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_max_body_size 0;
  client_body_temp_path {folder}/temp;
  client_body_buffer_size 1m;
  proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  tcp_nodelay on;
  server {{
    listen 127.0.0.1:{port};
    location / {{ root {folder}/kept; dav_methods PUT; create_full_put_path on; }}
  }}
}}
"""
TUS = """
import http from 'node:http';
import { Server } from '@tus/server';
import { FileStore } from '@tus/file-store';

const [port, directory] = process.argv.slice(2);
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) });
http.createServer((request, response) => tus.handle(request, response)).listen(Number(port), '127.0.0.1');
"""


def no_nginx() -> str:
    """Why it cannot be measured; "" where it can."""
    if sentence := missing("nginx"):
        return sentence
    about = subprocess.run(["/usr/sbin/nginx", "-V"], capture_output=True, text=True, check=False).stderr
    return "" if "http_dav_module" in about else "this nginx is built without its DAV module"


@contextmanager
def nginx(folder: Path) -> Iterator[Program]:
    for name in ("kept", "temp"):
        (folder / name).mkdir(parents=True)
    port = free_port()
    user = "user root;" if getpass.getuser() == "root" else ""
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(user=user, folder=folder, port=port))
    with _running(Program(["nginx", "-p", str(folder), "-c", str(config)], port, "", folder)) as server:
        yield server


def install_tus(root: Path) -> Path:
    """The folder with the server, installed once; raises RunFailed where that cannot be."""
    if sentence := missing("node", "npm"):
        raise RunFailed(sentence)
    folder = root / ("tus-" + "-".join(PINNED.values()))
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PINNED}))
        (folder / "server.mjs").write_text(TUS)
        install("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", where=folder)
        (folder / "installed").touch()
    return folder


@contextmanager
def tus(program: Path, folder: Path) -> Iterator[Program]:
    folder.mkdir(parents=True)
    port = free_port()
    command = ["node", str(program / "server.mjs"), str(port), str(folder)]
    with _running(Program(command, port, "", folder, {"NODE_ENV": "production"})) as server:
        yield server


@contextmanager
def _running(program: Program) -> Iterator[Program]:
    try:
        program.start()
        yield program
    finally:
        program.stop()
