// Signs of life: when they are given, and that nothing is told where nobody wants to know.

import Bytes
import HostInterface
import Testing

@testable import Agent

@Suite struct WatchdogsTests {
  private var host = ScriptedHost()
  private var watchdogs = Watchdogs(now: Instant(milliseconds: 1000))

  /// Turns at the moments that it names, and at some before; gives those at which the manager was told.
  private mutating func signs(count: Int) -> [Int64] {
    var moments: [Int64] = []
    for _ in 0..<count {
      for moment in [host.time, watchdogs.deadline + .milliseconds(-1), watchdogs.deadline] where moment >= host.time {
        host.time = moment
        let before = host.told.count
        if host.time >= watchdogs.deadline { watchdogs.advance(host.time, &host) }
        if host.told.count > before { moments.append(host.time.milliseconds) }
      }
    }
    return moments
  }

  @Test mutating func aSignComesAtHalfOfTheManagersPatience() {
    host.patience = .seconds(30)
    #expect(signs(count: 3) == [1000, 16_000, 31_000])
    #expect(host.told.allSatisfy { $0 == .alive })
  }

  @Test mutating func nobodyIsToldWhereNobodyWaits() {
    watchdogs.advance(host.time, &host)
    #expect(host.told.isEmpty && watchdogs.deadline == .never)
  }

  @Test mutating func noPatienceMakesABusyLoop() {
    host.patience = .milliseconds(1)
    watchdogs.advance(host.time, &host)
    #expect(watchdogs.deadline == host.time + AgentLimits.signIntervalMin)
  }

  @Test mutating func theConnectionIsToldAsItIs() {
    watchdogs.tell(isOnline: true, &host)
    #expect(watchdogs.isToldOnline && host.told == [.online])
    watchdogs.tell(isOnline: false, &host)
    #expect(!watchdogs.isToldOnline && host.told == [.online, .offline])
  }
}
