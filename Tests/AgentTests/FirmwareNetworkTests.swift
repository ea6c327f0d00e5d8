import Bytes
import HostInterface
import Simulator
import TestSupport
import Testing

@testable import Agent

/// What is ordinarily broken between a device and its images, and what the platform is told then.
@Suite struct FirmwareNetworkTests {
  private static let content = Array("WORKS 1.5.0".utf8) + (0..<9000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

  /// Has a device download an image, for which it has `span`; gives the simulation when that is over.
  private func download(
    _ installer: String = "command", within span: TimeSpan = .minutes(120),
    _ prepare: (FirmwareSimulation) -> Void, _ check: (FirmwareSimulation, inout Arena) throws -> Void
  ) throws {
    try withArena(byteCount: 4 << 20) { arena in
      let simulation = try FirmwareSimulation(installer: installer, arena: &arena)
      try simulation.run(for: .seconds(10), &arena)
      prepare(simulation)
      simulation.ask(for: "download", record: simulation.offer("1.5.0", Self.content))
      try simulation.runToEnd(span, &arena)
      try check(simulation, &arena)
      let violation = simulation.world.violation
      #expect(violation == nil)
    }
  }

  /// The notices of the last request: state and update status.
  private func notices(_ simulation: FirmwareSimulation) -> [String] { simulation.requests.last?.notices ?? [] }

  /// A captive portal: until somebody logs in, each address is a page, with 200. It is asked again; and where nobody
  /// ever does, what came is no image: of the wrong digest, or no bundle.
  @Test(arguments: [("command", "0/4"), ("agent", "0/5")]) func aPortal(installer: String, told: String) throws {
    try download(installer, { $0.serve([.page, .page, .cut(4000), .page]) }) { simulation, _ in
      #expect(notices(simulation) == ["1/0", "2/0"] && simulation.requests.last?.step == .done)
    }
    try download(installer, { $0.serve(Array(repeating: .page, count: 20)) }) { simulation, _ in
      #expect(notices(simulation) == ["1/0", told])
      #expect(simulation.imageRequestCount == 4)
    }
  }

  /// An address with a signature that is over before the file is: whoever asks for the rest may not have it any more.
  @Test func aSignatureThatExpiresInTheMiddle() throws {
    try download("command", { $0.serve([.cut(4000)] + Array(repeating: .status(403), count: 20)) }) {
      simulation, arena in
      #expect(notices(simulation) == ["1/0", "0/6"])
      #expect(simulation.imageRequestCount == 2)
      // The same image at a new address is another job, and succeeds.
      simulation.serve([])
      simulation.ask(for: "download", record: simulation.offer("1.5.0", Self.content))
      try simulation.runToEnd(.minutes(120), &arena)
      #expect(notices(simulation) == ["1/0", "2/0"])
    }
  }

  /// A content network that sends each range elsewhere.
  @Test(arguments: ["command", "agent"]) func eachPartElsewhere(installer: String) throws {
    try download(
      installer,
      {
        $0.serveFromMirrors()
        $0.serve([.cut(3000), .cut(3000), .cut(3000)])
      }
    ) { simulation, _ in
      #expect(notices(simulation) == ["1/0", "2/0"])
      #expect(simulation.imageRequestCount == 8)
    }
  }

  /// A clock that is wrong when the server's certificate is looked at: that is waited for, and told in the end.
  @Test func aWrongClock() throws {
    try download("command", within: .minutes(10), { $0.imageLinkFailure = .tlsNotYetValid }) { simulation, arena in
      #expect(notices(simulation) == ["1/0"])
      simulation.imageLinkFailure = nil
      try simulation.runToEnd(.minutes(60), &arena)
      #expect(notices(simulation) == ["1/0", "2/0"])
    }
    try download("command", within: .minutes(25 * 60), { $0.imageLinkFailure = .tlsNotYetValid }) { simulation, _ in
      // In between it is told with each refresh of the management.
      #expect(notices(simulation).last == "0/3" && Set(notices(simulation).dropLast()) == ["1/0"])
    }
  }

  /// A person who pushes twice, while it downloads and when it is there: refused, and the first one goes on.
  @Test func aSecondPush() throws {
    try download("command", within: .seconds(1), { $0.serve([.cut(3000)]) }) { simulation, arena in
      #expect(notices(simulation) == ["1/0"])
      simulation.ask(for: "download", record: simulation.offer("1.5.0", Self.content))
      try simulation.run(for: .minutes(10), &arena)
      #expect(simulation.requests.last?.step == .failed("update 400 a download is running"))
      simulation.ask(for: "download", record: simulation.offer("1.5.0", Self.content))
      try simulation.runToEnd(.minutes(10), &arena)
      #expect(simulation.requests.last?.step == .failed("initiate 400 an image is downloaded already"))
      #expect(simulation.requests.last?.answers == ["update 204", "observe 200", "initiate 400"])
      simulation.ask(for: "update")
      try simulation.runToEnd(.minutes(10), &arena)
      #expect(simulation.requests.last?.step == .done && simulation.version == "1.5.0")
    }
  }

  /// A card that was copied while an installation ran, in another board: nothing is installed a second time there, and
  /// what is told is that nobody has seen the end.
  @Test func aClonedCard() throws {
    var host = ScriptedHost()
    var arena = makeArena(byteCount: 1 << 16)
    var job = FirmwareJob(isSupported: true, in: &arena)
    job.run = BootIdentifier(17, 17)
    job.stage = .begun
    job.status = .inProgress
    job.observed = 1
    job.set(.version, Array(text: "1.5.0").span)
    job.set(.identifier, Array(text: "\"i1\"").span)
    job.isAnswered = true
    host.firmwareRecord = (0..<job.record.count).map { job.record[$0] }
    let managed = try UpdaterTests.managedAndTold(host)
    #expect(managed.managed.rig.host.firmware.installs == [])
    #expect(
      managed.notices == [
        "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":{\"state\":0,\"updateStatus\":5}}]}"
      ])
  }
}

/// The same for a restart.
@Suite struct ClonedCardTests {
  /// What was accepted on one board is not done on another; there it counts as done, and the same request once more as
  /// one that was accepted.
  @Test func anotherBoardDoesNotRestart() throws {
    let configuration = Managed.example.replacingOccurrences(of: "reboot = yes", with: "reboot = /sbin/restart")
    let first = try Managed(configuration)
    try first.connect()
    try first.answerManage(200)
    first.receive("mgmt/initiate/device/reboot", "{\"reqId\":\"r\"}")
    #expect(try first.answers() == ["{\"rc\":202,\"reqId\":\"r\"}"])
    var host = ScriptedHost()
    host.run = 2
    host.storedClock = first.rig.host.stored.last
    let second = try Managed(configuration, host: host)
    try second.connect()
    try second.answerManage(200)
    second.pass(AgentLimits.restartPatience)
    second.pass(AgentLimits.restartPatience)
    second.receive("mgmt/initiate/device/reboot", "{\"reqId\":\"r\"}")
    #expect(try second.answers().last == "{\"rc\":202,\"reqId\":\"r\"}")
    second.pass(.minutes(10))
    #expect(second.rig.host.actions == [])
  }
}

extension UpdaterTests {
  /// A device that is managed, and what it has told of its firmware then.
  fileprivate static func managedAndTold(_ host: ScriptedHost) throws -> (managed: Managed, notices: [String]) {
    let managed = try Managed(configuration, inflightMax: 40, host: host)
    try managed.connect()
    try managed.answerManage(200)
    let notices = try managed.published().filter { $0.hasPrefix("iotdevice-1/notify ") }
    return (managed, notices.map { String($0.dropFirst(19).components(separatedBy: ",\"reqId\"")[0]) })
  }
}
