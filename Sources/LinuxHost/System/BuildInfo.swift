// What this build knows about itself.

import Bytes
import CLinux

/// The version, as ASCII text.
public var buildVersion: Span<UInt8> {
  @_lifetime(immortal)
  get { CString(mote_version()).span }
}

/// When this was built, in UTC. No clock that is right shows an earlier time.
public var buildTime: WallTime { WallTime(milliseconds: mote_build_time() * 1000) }

/// The boot-time clock, for a program that has no host yet.
public func bootTime() -> Instant { System.bootTime() }
