"""Weight files that no library writes, what their refusal says, and reading them alone.

``python tests/hostile_weights.py FILE ...`` prints a JSON list of error, seconds, megabytes, died.
Memory is the growth of the address space, which is never less than what is really used.
"""

import json
import os
import pickle
import resource
import struct
import sys
import time
import zipfile
from pathlib import Path

from code_mm.weights import read_tensors

SECONDS = 15  # then the process is ended by the system


def address_space(kind):
    """'VmSize' now or 'VmPeak' so far, in bytes."""
    lines = Path('/proc/self/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(kind)).split()[1])


def read_alone(path):
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        before, start, error = address_space('VmSize'), time.process_time(), None
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (before + (2 << 30),) * 2)
        try:
            read_tensors(path)
        except ValueError as caught:
            error = str(caught)
        found = dict(error=error, seconds=time.process_time() - start)
        found['megabytes'] = (address_space('VmPeak') - before) / 2**20
        os.write(sender, json.dumps(found).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as stream:
        text = stream.read()
    return {**json.loads(text or '{}'), 'died': os.waitpid(child, 0)[1]}


# --- pickles: each stands between PROTO and STOP


def text(content):
    content = content.encode()
    return b'X' + struct.pack('<I', len(content)) + content


def number(value):
    content = pickle.encode_long(value)
    return b'\x8a' + bytes([len(content)]) + content


MKDIR = text('mkdir executed')
BUILDER = b'ctorch._utils\n_rebuild_tensor_v2\n'
HISTORY = b'cmmengine.logging.history_buffer\nHistoryBuffer\nq\x02'
MODULE = b'c__torch__\nM\nq\x01'
ENCODE = b'c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R'


def storage(count):
    """Storage '0', which has one element."""
    return b'(%sctorch\nFloatStorage\n%s%s%stQ' % (*map(text, ('storage', '0', 'cpu')), count)


ONE = storage(b'K\x01')
TENSOR = BUILDER + b'(' + ONE + b'K\x00K\x01\x85K\x01\x85\x89)}tR'


def tensor(view, of=ONE):
    """Offset, size, stride and whether it learns, of a tensor by name."""
    return b'}%s%s(%s%s)}tRs' % (text('a'), BUILDER, of, view)


HUGE = b'\x8b' + struct.pack('<I', 1 << 20) + b'\x7f' * (1 << 20) + b'q\x01'
SIDES = b'K\x00(' + HUGE + b'h\x01' * 30 + b't(' + b'K\x01' * 31 + b't\x89'
# a list that holds one twice, which holds one twice ...: no text of it, and no hash, has an end
DOUBLED = b']\x94' + b''.join(b']h%cah%ca\x94' % (i, i) for i in range(100))
ONE_TEXT = text('a' * (1 << 20)) + b'q\x00'  # 1 MB, to be taken again and again
# an array of 1 MB in the memo, and a history whose state holds it
ARRAY = b'cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01'
ARRAY += number(1 << 17) + b'\x85cnumpy\ndtype\n%sK\x00K\x01\x87RK\x00' % text('f8')
ARRAY += b'B' + struct.pack('<I', 8 << 17) + b'\0' * (8 << 17) + b'tbq\x01'
STATE = (text(name) for name in ('_log_history', '_count_history', 'max_length'))
LOGGED = ARRAY + b'0' + HISTORY + b'0}(%sh\x01%sh\x01%sK\x01uq\x030' % (*STATE,)
ATTRIBUTES = b''.join(text(f'{i:05}') + b'N' for i in range(20_000))
MODULES = b'h\x01)\x81}(h\x00' * 80 + b'h\x01)\x81' + (text('t') + b'h\x02ub') * 80
COLLIDING = [k * (2**61 - 1) for k in range(1, 100_000)]  # their hash is 0
MORE, KEY = 'asks for much more memory', 'beyond all bounds as a key'
NAMELESS = 'no tensors by name, but a Placeholder'
PICKLES = {
    'a system call by INST': (b'(S"mkdir executed"\nios\nsystem\n', 'opcode INST'),
    'a system call by REDUCE': (b'cos\nsystem\n(S"mkdir executed"\ntR', NAMELESS),
    'a call in protocol 4': (b'\x8c\x05posix\x8c\x06system\x93%s\x85R' % MKDIR, NAMELESS),
    'a persistent id': (MKDIR + b'Q', 'beside it that is no storage'),
    'the extension registry': (b'\x82\x01', 'opcode EXT1'),
    'a BUILD on a function': (BUILDER + b'}U\x01aK\x01sb', 'state of a _Function'),
    'a BUILD on a list': (b']}U\x01aK\x01sb', 'state of a list'),
    'a BUILD of attributes': (TENSOR + b'}%s}sb' % text('__dict__'), 'state of a Tensor'),
    'a BUILD of slots': (b'}N}%sK\x01s\x86b' % text('__class__'), 'state of a dict'),
    'a call of a text': (b'U\x01a)R', 'calls a str'),
    'an empty stack': (b'0', 'takes what it has not put down'),
    'a name that is a doubled list': (DOUBLED + b'\x8c\x01a\x93', 'by no text'),
    'a storage by a list': (DOUBLED + ONE.replace(text('0'), b'h\x64'), 'a storage wrongly'),
    'sides of a million digits': (tensor(SIDES), 'size of a tensor is wrong'),
    'a length beyond the end': (b'X\xff\xff\xff\xffabc', 'only 4 remain'),
    'a length beyond all memory': (b'\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa', 'remain'),
    'a storage that lies': (tensor(b'K\x00K\x02\x85K\x01\x85\x89', storage(b'K\x07')), 'as stated'),
    'a view beyond its storage': (tensor(b'K\x00K\x02\x85K\x01\x85\x89'), 'beyond its storage'),
    'a negative offset': (tensor(b'J\xff\xff\xff\xffK\x01\x85K\x01\x85\x89'), 'is wrong'),
    'one number a billion times': (tensor(b'K\x00J\0\0\0@\x85K\x00\x85\x89'), 'beyond its storage'),
    'open brackets': (b'(' * 300_000, MORE),
    'nested lists': (b']' * 100_000 + b'a' * 99_999, 'deeper than 100'),
    'nested tuples as a key': (b'})' + b'\x85' * 100_000 + b'K\x01s', 'a key of type tuple'),
    'nested tuples as a counted value': (
        b'ccollections\nCounter\n])' + b'\x85' * 100_000 + b'K\x01\x86a\x85R', 'damaged'),
    'millions of empty objects': (b'(' + b'}' * 3_000_000 + b't', MORE),
    'many sets': (b'(' + b'\x8f' * 240_000 + b't', 'but a tuple'),
    'many histories': (HISTORY + b'0(' + b'h\x02)R' * 80_000 + b't', 'a tuple'),
    'many views': (
        BUILDER + b'q\x010(%sK\x00))tq\x020(' % ONE + b'h\x01h\x02R' * 80_000 + b't', MORE),
    'one text encoded a thousand times': (ONE_TEXT + b'0(' + ENCODE * 1000 + b't', MORE),
    'one array in a thousand histories': (LOGGED + b'(' + b'h\x02)Rh\x03b' * 1000 + b't', MORE),
    'one history filled again and again': (LOGGED + b'h\x02)R' + b'h\x03b' * 50_000, MORE),
    'one module filled again and again': (
        b'}(' + ATTRIBUTES + b'uq\x000' + MODULE + b')\x81' + b'h\x00b' * 50_000, MORE),
    'long names of nested modules': (
        ONE_TEXT + b'0' + MODULE + b'0' + TENSOR + b'q\x020' + MODULES, 'names of its modules are'),
    'a text four times as long in memory': (text('a' * 40_000_000 + '\U0001f600'), MORE),
    'a number of a million digits': (b'L' + b'9' * 1_000_000 + b'L\n', 'digits'),
    'keys of one hash': (b'}(' + b''.join(number(k) + b'N' for k in COLLIDING[:8]) + b'u', KEY),
    'keys of one hash in the memo': (b'N' + b''.join(b'p%d\n' % k for k in COLLIDING) + b'0}', KEY),
    'keys that can be made to have one hash': (b'}' + number(1) + number(1 << 40) + b'\x86Ns', KEY),
}  # fmt: skip


# --- archives and safetensors


def archive(*members, **keys):
    def write(folder, name):
        path = folder / f'{name.replace(" ", "_")}.pth'
        with zipfile.ZipFile(path, 'w') as file:
            for member, content in members:
                file.writestr(member, content, **keys)
        return path

    return write


def overlapping(folder, name):
    """A thousand members that are the same bytes."""
    path = archive(PICKLE, ('x/data/0', b'a' * 10_000))(folder, name)
    with zipfile.ZipFile(path, 'a') as file:
        for i in range(1, 1000):
            info, last = zipfile.ZipInfo(f'x/data/{i}'), file.filelist[1]
            for key in ('header_offset', 'CRC', 'compress_size', 'file_size'):
                setattr(info, key, getattr(last, key))
            file.filelist.append(info)
        file._didModify = True
    return path


def two_archives(folder, name):
    """Some readers take the first table of contents, others the second."""
    path = archive(('x/data.pkl', b'\x80\x02cos\nsystem\n(S"mkdir executed"\ntR.'))(folder, name)
    path.write_bytes(2 * path.read_bytes())
    return path


def legacy_key(folder, name):
    """Storages are named by texts; this one takes for ever to be hashed."""
    key, path = (), folder / 'legacy.pth'
    for _ in range(90):
        key = (key, key)
    parts = 0x1950A86A20F9469CFC6C, 1001, dict(little_endian=True), {}, [key]
    path.write_bytes(b''.join(pickle.dumps(part, 2) for part in parts))
    return path


def safetensors(content, length=None):
    def write(folder, name):
        path = folder / f'{name.replace(" ", "_")}.safetensors'
        header = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes((length or len(header)).to_bytes(8, 'little') + header + bytes(16))
        return path

    return write


def stated(start, end, shape=(2,)):
    return {'dtype': 'F32', 'shape': shape, 'data_offsets': [start, end]}


PICKLE, OTHER = ('x/data.pkl', b'\x80\x02}.'), b'\x80\x02].'
BOMB = archive(('x/data.pkl', b'\x80\x02}.' + bytes(10**8)), compress_type=zipfile.ZIP_DEFLATED)
LONG = archive(PICKLE, *((f'x/{i:0200}', b'') for i in range(20_000)))
HEADER = 'no header of safetensors'
HOSTILE = {
    **{
        name: (archive(('x/data.pkl', b'\x80\x04' + body + b'.'), ('x/data/0', bytes(4))), reason)
        for name, (body, reason) in PICKLES.items()
    },
    'no end': (archive(('x/data.pkl', b'\x80\x02}')), 'cut off or damaged; download .*no end'),
    'a bomb': (BOMB, 'is compressed, which PyTorch does not do'),
    'two members of one name': (archive(PICKLE, ('x/data.pkl', OTHER)), 'of one name'),
    'members that differ in case': (archive(PICKLE, ('x/DATA.PKL', OTHER)), 'of one name'),
    'members that overlap': (overlapping, 'larger than the file'),
    'two tables of contents': (two_archives, 'in front of its first member'),
    'a long table of contents': (LONG, 'table of contents is too long'),
    'another zip': (archive(('word/document.xml', b'<x/>')), 'none of PyTorch; unpack it'),
    'a legacy key': (legacy_key, 'names storages that no tensor has'),
    'overlapping offsets': (safetensors(dict(a=stated(0, 8), b=stated(4, 12))), 'nvalid'),
    'offsets beyond the end': (safetensors(dict(a=stated(0, 800, (200,)))), 'damaged'),
    'a shape beyond its offsets': (safetensors(dict(a=stated(0, 8, (2, 1 << 60)))), 'damaged'),
    'offsets that go back': (safetensors(dict(a=stated(8, 0))), 'nvalid'),
    'a header beyond the end': (safetensors({}, length=1 << 60), HEADER),
    'a deep header': (safetensors(b'{"a":' * 40_000), 'recursion'),
    'a long header': (safetensors(dict(a=stated(0, 4, [1] * 1_000_000))), HEADER),
    'a header within the bounds': (safetensors(dict(a=stated(0, 8, [1] * 650_000))), 'damaged'),
}


if __name__ == '__main__':
    print(json.dumps([read_alone(path) for path in sys.argv[1:]]))
