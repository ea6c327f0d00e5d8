import Bytes
import HostInterface
import Simulator
import TestSupport
import Testing

@testable import Agent

/// The file that says where the device is.
@Suite struct LocationFileTests {
  /// A managed device with such a file, which has `text`; the server has answered all that it was asked.
  private func makeManaged(_ text: String?, isManaged: Bool = true) throws -> Managed {
    var host = ScriptedHost()
    host.location = text
    let managed = try Managed(Managed.example + "location-file = /run/gps/location\n", inflightMax: 40, host: host)
    managed.rig.host.wall = WallTime(milliseconds: 1_714_558_800_000)
    try managed.connect()
    if isManaged { try managed.answerManage(200) }
    return managed
  }

  /// Where the device has said to be since the last time, each answered.
  private func told(_ managed: Managed) throws -> [String] {
    let topic = "iotdevice-1/device/update/location {\"d\":{"
    return try managed.published().compactMap { message in
      guard message.hasPrefix(topic), let members = message.dropFirst(topic.count).split(separator: "}").first,
        let identifier = message.components(separatedBy: "\"reqId\":").last?.dropLast()
      else { return nil }
      managed.receive("response", "{\"rc\":200,\"reqId\":\(identifier)}")
      return members.components(separatedBy: ",\"measuredDateTime").first
    }
  }

  @Test(arguments: [
    ("48.1371 11.5754 519 12\n", "\"latitude\":48.1371,\"longitude\":11.5754,\"elevation\":519,\"accuracy\":12"),
    ("48.1371\t11.5754 519", "\"latitude\":48.1371,\"longitude\":11.5754,\"elevation\":519"),
    ("\n  -90 \r\n 180", "\"latitude\":-90,\"longitude\":180"),
    ("0 0 -1000000 0.5\n\n", "\"latitude\":0,\"longitude\":0,\"elevation\":-1000000,\"accuracy\":0.5"),
    ("1 2" + String(repeating: " ", count: 252), "\"latitude\":1,\"longitude\":2"),
  ])
  func whatItSaysIsTold(text: String, members: String) throws {
    let managed = try makeManaged(text)
    #expect(try told(managed) == [members])
    #expect(managed.rig.host.lines.filter { $0.contains("location") } == [])
    managed.receive("observe", "{\"d\":{\"fields\":[\"location\"]},\"reqId\":\"o\"}")
    #expect(try managed.answers().last?.contains("\"value\":{\(members)}}") == true)
  }

  @Test(arguments: [
    ("", 1, 1, "latitude"), ("x 2", 1, 1, "latitude"), ("91 0", 1, 1, "latitude"), ("1", 1, 2, "longitude"),
    ("48.1371,11.5754", 1, 1, "latitude"), ("1 -180.1", 1, 3, "longitude"), ("1\n2\n  three", 3, 3, "elevation"),
    ("1 2 3 1000001", 1, 7, "accuracy"), ("1 2 3 4\n5", 2, 1, "end"), ("\u{0}\u{ff} 1", 1, 2, "latitude"),
    ("1 2" + String(repeating: " ", count: 253), 1, 257, "end"),
    ("1 2 " + String(repeating: "3", count: 300), 1, 5, "end"),
  ])
  func whatIsWrongIsLoggedAndNotTold(text: String, line: Int, column: Int, expected: String) throws {
    let managed = try makeManaged(text)
    #expect(try told(managed) == [])
    let lines = managed.rig.host.lines.filter { $0.contains("location") }
    #expect(lines == ["warning management location-refused line=\(line) column=\(column) expected=\(expected)"])
    // It stays wrong, and is no news.
    managed.pass(.minutes(1))
    #expect(managed.rig.host.lines.filter { $0.contains("location") } == lines)
    managed.rig.host.location = "1 2"
    managed.pass(AgentLimits.locationInterval)
    #expect(try told(managed) == ["\"latitude\":1,\"longitude\":2"])
  }

  @Test func onlyWhatChangesIsTold() throws {
    let managed = try makeManaged("1 2")
    #expect(try told(managed) == ["\"latitude\":1,\"longitude\":2"])
    let reads = managed.rig.host.locationReads
    managed.pass(.milliseconds(AgentLimits.locationInterval.milliseconds - 1))
    #expect(managed.rig.host.locationReads == reads && managed.deadline == managed.rig.host.time + .milliseconds(1))
    managed.pass(.milliseconds(1))
    #expect(managed.rig.host.locationReads == reads + 1)
    #expect(try told(managed) == [])
    managed.rig.host.location = "1 3"
    managed.pass(AgentLimits.locationInterval)
    #expect(try told(managed) == ["\"latitude\":1,\"longitude\":3"])
    // Gone, and back: it is told again, as it may have been elsewhere meanwhile.
    for text in [nil, nil, "1 3"] as [String?] {
      managed.rig.host.location = text
      managed.pass(AgentLimits.locationInterval)
    }
    #expect(try told(managed) == ["\"latitude\":1,\"longitude\":3"])
    let lines = managed.rig.host.lines.filter { $0.contains("location") }
    #expect(lines == ["warning management location-not-read"])
  }

  @Test func nobodyLooksBeforeTheDeviceIsManaged() throws {
    let managed = try makeManaged("1 2", isManaged: false)
    managed.pass(.seconds(30))
    #expect(managed.rig.host.locationReads == 0)
    let other = try Managed(Managed.example)
    try other.connect()
    try other.answerManage(200)
    other.pass(.minutes(1))
    #expect(other.rig.host.locationReads == 0)
  }

  /// Whatever the file says, and whenever: the server is told of each place that it was seen to say, in order.
  @Test(arguments: Seeds.all(5)) func theServerFollows(seed: UInt64) throws {
    try withArena(byteCount: 1 << 20) { arena in
      let simulation = try ManagementSimulation(
        seed: seed, management: "location-file = /run/gps/location", cleanSession: seed.isMultiple(of: 2),
        arena: &arena)
      try simulation.run(for: .minutes(1), &arena)
      #expect(simulation.logCount("management location-not-read") == 1)
      var dice = seed
      var expected: [[Double]] = []
      var last = ""
      for step in 0..<40 {
        dice = dice &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let number = Int(dice >> 60)
        let text = number < 3 ? "rubbish \(step)" : "\(number).5 \(step / 4)"
        simulation.location = text
        if number == 7 { simulation.cutLink(.reset) }
        try simulation.run(for: .seconds(number == 7 ? 120 : 12), &arena)
        if text != last, number >= 3 { expected.append([Double(number) + 0.5, Double(step / 4)]) }
        last = text
      }
      try simulation.run(for: .minutes(3), &arena)
      #expect(simulation.world.violation == nil)
      #expect(simulation.toldLocations == expected, "seed \(seed)")
    }
  }
}
