// What `mote check` says about the clock: the line that a start would log.

import Agent
import Bytes
import HostInterface
import LinuxHost

/// Compares the system's clock with what is known, and warns on standard error where it is not believed.
///
/// - Returns: whether it has warned.
func warnAboutClock(_ configuration: inout LoadedConfiguration) throws(ExitStatus) -> Bool {
  guard var memory = MemoryBlock() else { throw .system }
  var host = try makeHost(
    configuration.settings, 0, connection: &memory.arena, configuration: &configuration.block.arena)
  let warns = try warn(&host, from: &memory.arena)
  host.close()
  return warns
}

private func warn(_ host: inout LinuxHost, from arena: inout Arena) throws(ExitStatus) -> Bool {
  do throws(ArenaExhausted) {
    var log = try LogWriter(threshold: .warning, from: &arena)
    var clock = try ClockFloor(buildTime: buildTime, now: host.now(), from: &arena)
    while true {
      let now = host.now()
      clock.look(now, &log, &host)
      if clock.isSettled(at: now) { return clock.hasDoubts }
      host.wait(until: clock.deadline(now) ?? now)
    }
  } catch {
    throw .software
  }
}
