"""Network namespaces for TensorFlow's servers.

These listen on all addresses of the machine. In a network namespace that only
has a loopback device, no other machine can reach them.
"""

import os
import socket
import struct
import subprocess
import sys


def isolating_command():
  """Returns the command prefix that runs a program in a new namespace.

  Returns:
    list of str; None if this system does not allow it.
  """
  for command in (["unshare", "-n"], ["unshare", "-rn"]):
    try:
      subprocess.run(command + ["true"], check=True, stderr=subprocess.DEVNULL)
      return command
    except (OSError, subprocess.CalledProcessError):
      pass
  return None


def raise_loopback():
  """Enables the loopback device of this process's namespace."""
  import fcntl  # Not available on Windows.

  get_flags, set_flags, up, layout = 0x8913, 0x8914, 1, "16sh14x"
  with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
    request = struct.pack(layout, b"lo", 0)
    _, old = struct.unpack(layout, fcntl.ioctl(any_socket, get_flags, request))
    fcntl.ioctl(any_socket, set_flags, struct.pack(layout, b"lo", old | up))


def serve_tpu_host():
  """Runs the server of a TPU host, with the same job name, in this process.

  Prints the loopback port that it listens on, and exits when standard input is
  closed.
  """
  import tensorflow.compat.v1 as tf  # Other functions do not need it.

  server = tf.train.Server({"tpu_worker": ["127.0.0.1:0"]},
                           job_name="tpu_worker", task_index=0)
  print(server.target.rpartition(":")[2], flush=True)
  sys.stdin.read()
  os._exit(0)  # TensorFlow cannot stop a server.


def free_ports(count):
  """Returns unused ports of the loopback device, a list of int."""
  sockets = [socket.socket() for _ in range(count)]
  try:
    for one in sockets:
      one.bind(("127.0.0.1", 0))
    return [one.getsockname()[1] for one in sockets]
  finally:
    for one in sockets:
      one.close()
