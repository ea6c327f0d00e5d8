// What is told about connections, and to whom.

import PlatformProtocol
import PlatformService
import Testing

@Suite struct MonitoringTests {
  /// The action and client identifier of each monitoring message since this was last asked.
  private func told(_ rig: Rig, _ connection: Int) -> [String] {
    rig.messages(connection).compactMap { message in
      guard let start = message.firstIndex(of: "{"), let body = JSONValue(text: String(message[start...])) else {
        return nil
      }
      return [body["Action"], body["ClientID"]].map { $0?.string ?? "" }.joined(separator: " ")
    }
  }

  private func states(_ rig: Rig) -> [String] {
    rig.service.connectionStates().filter { $0.applicationID == "app" }.map(\.clientID)
  }

  @Test func knowsTheInstancesOfASharedApplication() throws {
    let rig = try Rig()
    _ = rig.connect("A:local0:app:i1")
    let second = rig.connect("A:local0:app:i2")
    #expect(states(rig) == ["A:local0:app:i1", "A:local0:app:i2"])
    rig.drop(second)
    #expect(states(rig) == ["A:local0:app:i1"])
    let watcher = rig.connect("a:local0:watcher")
    rig.subscribe(watcher, "iot-2/app/app/mon")
    #expect(told(rig, watcher) == ["Connect A:local0:app:i1"])
  }

  @Test func knowsASharedApplicationUntilItsLastConnectionEnds() throws {
    let rig = try Rig()
    let connections = (0..<3).map { _ in rig.connect("A:local0:app") }
    for connection in connections {
      #expect(states(rig) == ["A:local0:app"])
      rig.drop(connection)
    }
    #expect(states(rig).isEmpty)
  }

  @Test func knowsWhoTookOver() throws {
    let rig = try Rig()
    _ = rig.connect("a:local0:app")
    let second = rig.connect("a:local0:app")
    #expect(states(rig) == ["a:local0:app"])
    rig.drop(second)
    #expect(states(rig).isEmpty)
  }

  @Test func tellsOfAConnectThatIsDroppedMeanwhile() throws {
    let rig = try Rig()
    let watcher = rig.connect("a:local0:watcher")
    for _ in 0..<5 { _ = rig.connect("d:local0:edge:e1", password: "wrong password") }
    rig.subscribe(watcher, "iot-2/type/edge/id/e1/mon")
    _ = rig.received(watcher)
    let sixth = rig.connect("d:local0:edge:e1")
    #expect(rig.output.closed[sixth] == .delayed)
    #expect(told(rig, watcher) == ["FailedConnect d:local0:edge:e1"])
  }
}
