"""Cells of hostile submissions, by what they try. `COURSE`, `ROOT` and `PORT` are filled in, by `zoo`."""

# Hands every solution that it finds in a file to the check of its task.
TAKE = r"""
def take(path):
    try: text = open(path, errors='ignore').read()
    except Exception: return
    if path.endswith('.ipynb'):
        import json
        try: text = '\n'.join(''.join(c['source']) for c in json.loads(text)['cells'] if c['cell_type'] == 'code')
        except Exception: return
    for name in ('means', 'borda'):
        if f'def {name}(' in text and 'raise NotImplementedError' not in text:
            space = {}
            try: exec(text, space)
            except BaseException: pass
            if callable(space.get(name)): check({'means': '09.2', 'borda': '09.3'}[name], space[name])
"""

CELLS: dict[str, str] = {
    "a cell that ignores every interrupt": r"""
import time
while True:
    try: time.sleep(60)
    except BaseException: pass
""",
    "os._exit in a cell": r"""
import os; os._exit(0)
""",
    "kills itself": r"""
import os; os.kill(os.getpid(), 9)
""",
    "kills every process it sees": r"""
import os; os.kill(-1, 9)
""",
    "fork bomb": r"""
import os
while True: os.fork()
""",
    "many processes": r"""
import subprocess
for _ in range(500): subprocess.Popen(['sleep', '60'])
""",
    "thread bomb": r"""
import threading, time
for _ in range(100000): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
""",
    "memory, at once": r"""
x = bytearray(10 ** 12)
""",
    "memory, bit by bit": r"""
x = []
while True: x.append(bytearray(50_000_000))
""",
    "fills the disk": r"""
written = dict.fromkeys(('/tmp', '/dev/shm', '.', '/'), 0)
for where in written:
    try:
        for i in range(400):
            with open(f'{where}/full{i}', 'wb', buffering=0) as f: written[where] += f.write(bytes(1_000_000))
    except OSError: pass
print('megabytes:', *(size // 1_000_000 for size in written.values()))
""",
    "memory files": r"""
import os
fds = []
while True:
    fds.append(os.memfd_create('x')); os.write(fds[-1], bytes(8_000_000))
""",
    "network": r"""
import socket
for host in ('127.0.0.1', '1.1.1.1'):
    try: socket.create_connection((host, PORT), 1).sendall(b'hello'); print('reached')
    except OSError: print('out of reach')
""",
    "reads the hidden tests and the solutions": TAKE
    + r"""
import glob
for root in ('COURSE', '/course', 'ROOT'):
    for p in glob.glob(root + '/**/*09*', recursive=True)[:500]: take(p)
""",
    "reads through /proc": TAKE
    + r"""
import glob
for p in glob.glob('/proc/*/root' + 'COURSE' + '/**/*09*', recursive=True): take(p)
for p in glob.glob('/proc/*/cwd/**/*09*', recursive=True): take(p)
""",
    "imports the reference": r"""
try:
    from helpers.exercises.lesson_09 import means, borda
    check('09.2', means); check('09.3', borda)
except ImportError: print('no reference')
""",
    "looks for the reference in the grader's modules": r"""
import sys
found = [m for m in sys.modules if 'lesson_' in m or 'judge' in m]
print('modules:', found)
""",
    "looks for paths of the machine": r"""
import os, sys
places = [f'/proc/{p}' for p in ('self/mountinfo', 'self/maps', '1/cmdline', 'mounts', 'config.gz')]
print('readable:', list(filter(os.path.exists, [*places, '/etc/passwd'])), [p for p in sys.path if 'ROOT' in p])
""",
    "sockets of other families": r"""
import socket
def made(family):
    try: return socket.socket(family, socket.SOCK_DGRAM) and 'made'
    except OSError as error: return error.errno
print('families:', *(made(f) for f in (40, 16, 17, 38, 1, 2, 10)))  # VSOCK, NETLINK, PACKET, ALG; UNIX, INET, INET6
""",
    "reads its neighbours": TAKE
    + r"""
import glob
for p in glob.glob('COURSE/grading/**/*.ipynb', recursive=True): take(p)
""",
    "writes the gradebook": r"""
for p in ('COURSE/grading/gradebook.db', '/course/grading/gradebook.db'):
    try: open(p, 'wb').write(b'10')
    except OSError: pass
""",
    "deletes the course": r"""
import shutil
for p in ('COURSE', '/course', '/usr/lib/python3'): shutil.rmtree(p, ignore_errors=True)
""",
    "changes the course's helpers": r"""
import helpers.checks as c
try: open(c.__file__, 'w').write('')
except OSError: pass
""",
    "leaves its namespaces": r"""
import ctypes
libc = ctypes.CDLL(None)
print('namespaces:', libc.unshare(0x10000000), libc.ptrace(0, 0, 0, 0))
""",
    "patches NumPy": r"""
import numpy as np
for n in ('allclose', 'isclose', 'array_equal', 'abs', 'all'): setattr(np, n, lambda *a, **k: True)
np.random.default_rng = lambda *a: None
""",
    "patches builtins": r"""
import builtins
for n in ('abs', 'all', 'any'): setattr(builtins, n, lambda *a: 0)
""",
    "patches the checker": r"""
import sys, types, helpers.checks as c
c.check = c.hint = lambda *a, **k: None
c.handed_in = {t: (lambda *a: True) for t in ('09.1', '09.2', '09.3')}
""",
    "patches the probe": r"""
import sys
p = sys.modules['__main__']
p.answer = lambda *a: {'value': True}
""",
    "patches the wire": r"""
import wire
wire.pack = lambda *a, **k: {'points': 10}
""",
    "replaces the source of later cells (input transformer)": r"""
get_ipython().input_transformers_post.append(lambda lines: ['pass\n'])
""",
    "forges messages": r"""
import os, socket, struct, json
def forge(*messages):
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        for m in messages:
            b = json.dumps(m).encode()
            try: s.sendall(struct.pack('>I', len(b)) + b)
            except OSError: pass

forge({'loaded': True}, {'value': True}, {'outcomes': [10]}, {'right': True, 'points': 10})
""",
    "forges messages that are no JSON": r"""
import os, socket, struct, json
def forge(*messages):
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        for m in messages:
            b = b'x' * m
            try: s.sendall(struct.pack('>I', len(b)) + b)
            except OSError: pass

forge(5, 3_000_000_000 // 10 ** 9)
""",
    "forges a value of a gigabyte": r"""
import os, socket, struct, json
def forge(*messages):
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        for m in messages:
            b = json.dumps(m).encode()
            try: s.sendall(struct.pack('>I', len(b)) + b)
            except OSError: pass

for fd in range(3, 64):
    try: os.write(fd, struct.pack('>I', 1 << 30))
    except OSError: pass
""",
    "an output line of 80 MB": r"""
print('x' * 80_000_000)
""",
    "output without an end": r"""
while True: print('x' * 1000)
""",
    "forges a cell's number (3.0)": r"""
import os, socket, struct, json
def forge(*messages):
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        for m in messages:
            b = json.dumps(m).encode()
            try: s.sendall(struct.pack('>I', len(b)) + b)
            except OSError: pass

forge({'cell': 3.0, 'outputs': []})
""",
    "forges a cell's number (true)": r"""
import os, socket, struct, json
def forge(*messages):
    for fd in range(3, 64):
        try: s = socket.socket(fileno=os.dup(fd))
        except OSError: continue
        for m in messages:
            b = json.dumps(m).encode()
            try: s.sendall(struct.pack('>I', len(b)) + b)
            except OSError: pass

forge({'cell': True, 'outputs': []})
""",
    "forges outputs that are none": r"""
import wire
send = wire.send
none = {'outputs': ['x', 3, None, {'output_type': 'stream', 'text': {}}]}
wire.send = lambda to, m: send(to, m | none if 'cell' in m else m)
""",
    "shows half a character": r"""
print('a\ud800b')
""",
    "shows twelve pictures of 290 kB": r"""
import base64, os
from IPython.display import display
for _ in range(12): display({'image/png': base64.b64encode(os.urandom(215_000)).decode()}, raw=True)
""",
    "shows 250 long texts": r"""
for _ in range(250): display('x' * 19_000)
""",
}
