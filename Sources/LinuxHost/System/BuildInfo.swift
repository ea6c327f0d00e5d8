// What this build knows about itself.

import Bytes
import CLinux

/// The version, as ASCII text.
public var buildVersion: Span<UInt8> {
  @_lifetime(immortal)
  get { CString(mote_version()).span }
}

/// The boot-time clock, for a program that has no host yet.
public func bootTime() -> Instant { System.bootTime() }
