"""How the trainer and a worker process talk: frames in pipes.

A frame is 8 bytes of length and a pickle. See worker_pool.py.
"""

import struct

LENGTH = struct.Struct("<Q")
# Kinds of replies: the first item of the pickled pair.
RESULT, VALUE_ERROR, TRACEBACK = range(3)


def write_frame(stream, payload):
  """Writes a frame to an unbuffered stream.

  Args:
    stream: binary stream that blocks.
    payload: bytes.
  """
  for data in (LENGTH.pack(len(payload)), payload):
    rest = memoryview(data)
    while rest:
      rest = rest[stream.write(rest):]


def read_frames(fd, frames):
  """Puts the frames of a pipe into a queue until the pipe ends; closes it.

  Args:
    fd: int, file descriptor of the pipe.
    frames: queue; each frame is put there as a bytearray.
  """
  with open(fd, "rb", buffering=0) as stream:
    while True:
      header = _read_exactly(stream, LENGTH.size)
      frame = header and _read_exactly(stream, *LENGTH.unpack(header))
      if frame is None:
        return
      frames.put(frame)


def _read_exactly(stream, size):
  """Returns `size` bytes of an unbuffered stream, or None at its end."""
  data = bytearray(size)
  rest = memoryview(data)
  while rest:
    count = stream.readinto(rest)
    if not count:
      return None
    rest = rest[count:]
  return data
