// A seed for jitter and for identifiers that should differ between devices; keys are made elsewhere.

import Bytes
import CLinux

/// 64 bits that differ from device to device and from start to start. At early boot, when the kernel has no randomness
/// yet, clocks and the process number must do: waiting for better could take minutes on a board without a disk.
public func randomSeed() -> UInt64 {
  var seed: UInt64 = 0
  if mote_random_seed(&seed) == 0 { return seed }
  return UInt64(bitPattern: System.bootTime().milliseconds) &* 0x9E37_79B9_7F4A_7C15 ^ UInt64(getpid())
}
