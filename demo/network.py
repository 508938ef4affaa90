"""A network of its own for programs whose servers listen on all addresses.

TensorFlow's servers do. In a namespace that has nothing but its own loopback,
nobody else can reach them.
"""

import os
import socket
import struct
import subprocess
import sys


def isolating_command():
  """Returns the command, a list of str, that runs one in a namespace.

  None where this system lets no such thing be made.
  """
  for command in (["unshare", "-n"], ["unshare", "-rn"]):
    try:
      subprocess.run(command + ["true"], check=True, stderr=subprocess.DEVNULL)
      return command
    except (OSError, subprocess.CalledProcessError):
      pass
  return None


def raise_loopback():
  """Turns on the loopback of the namespace that this process is in."""
  import fcntl  # Windows lacks it.

  get_flags, set_flags, up, layout = 0x8913, 0x8914, 1, "16sh14x"
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    request = struct.pack(layout, b"lo", 0)
    _, old = struct.unpack(layout, fcntl.ioctl(any_socket, get_flags, request))
    fcntl.ioctl(any_socket, set_flags, struct.pack(layout, b"lo", old | up))


def serve_tpu_host():
  """Serves as a TPU's host does, under its name of the job, in this process.

  Prints the port of the loopback that it listens on, and ends with its standard
  input.
  """
  import tensorflow.compat.v1 as tf  # Not for those who start it.

  server = tf.train.Server({"tpu_worker": ["127.0.0.1:0"]},
                           job_name="tpu_worker", task_index=0)
  print(server.target.rpartition(":")[2], flush=True)
  sys.stdin.read()
  os._exit(0)  # A server of TensorFlow's cannot be ended.


def free_ports(count):
  """Returns numbers of ports of the loopback that nobody listens on now."""
  sockets = [socket.socket() for _ in range(count)]
  try:
    for one in sockets:
      one.bind(("127.0.0.1", 0))
    return [one.getsockname()[1] for one in sockets]
  finally:
    for one in sockets:
      one.close()
