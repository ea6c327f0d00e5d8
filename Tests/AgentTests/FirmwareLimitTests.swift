import Bytes
import Firmware
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// The bounds of updates, each at its last value and at the first one beyond it.
@Suite struct FirmwareLimitTests {
  /// A host with the job's record as `change` leaves it.
  private func host(_ change: (inout FirmwareJob) -> Void) throws -> ScriptedHost {
    var host = ScriptedHost()
    var arena = makeArena(byteCount: 1 << 16)
    var job = FirmwareJob(isSupported: true, in: &arena)
    job.run = host.bootIdentifier()
    change(&job)
    host.firmwareRecord = (0..<job.record.count).map { job.record[$0] }
    return host
  }

  // MARK: Texts

  @Test func theLongestAddressIsTakenAndTold() throws {
    for (count, code) in [(AgentLimits.uriBytesMax, 204), (AgentLimits.uriBytesMax + 1, 400)] {
      let managed = try Managed(
        UpdaterTests.configuration, queueBytes: 32_768, packetBytes: 16_384, inflightMax: 8)
      try managed.connect()
      try managed.answerManage(200)
      _ = try managed.published()
      let uri = "http://a/" + String(repeating: "b", count: count - 9)
      managed.receive("device/update", UpdaterTests.request("{\"uri\":\"\(uri)\"}", "u"))
      #expect(
        try managed.answers() == [
          code == 204
            ? "{\"rc\":204,\"reqId\":\"u\"}" : "{\"rc\":400,\"reqId\":\"u\",\"message\":\"the uri is too long\"}"
        ])
      // What it takes to write it in JSON does not count.
      let escaped = uri.replacingOccurrences(of: "/", with: "\\/").replacingOccurrences(of: "bbbb", with: "bbb\\u0062")
      managed.receive("device/update", UpdaterTests.request("{\"uri\":\"\(escaped)\"}", "e"))
      #expect(try managed.answers().first?.contains("\"rc\":\(code),") == true)
      guard code == 204 else { continue }
      managed.receive("observe", UpdaterTests.observation)
      let told = try managed.answers().last ?? ""
      #expect(told.contains("\"uri\":\"\(uri)\","))
      #expect(told.utf8.count <= AgentLimits.firmwareBytesMax)
    }
  }

  @Test(arguments: ["version", "name", "verifier"]) func theLongestTextsAreTaken(member: String) throws {
    for (count, code) in [(128, 204), (129, 400)] {
      let managed = try UpdaterTests.managed()
      let value = "{\"\(member)\":\"\(String(repeating: "x", count: count))\"}"
      managed.receive("device/update", UpdaterTests.request(value, "u"))
      #expect(try managed.answers().first?.hasPrefix("{\"rc\":\(code),") == true)
    }
  }

  // MARK: Requests

  @Test func eightRequestsAreKnownAgain() throws {
    var arena = makeArena(byteCount: 1 << 16)
    var job = FirmwareJob(isSupported: true, in: &arena)
    for number in 1...9 {
      job.set(.identifier, Array(text: "\"r\(number)\"").span)
      job.accept(in: BootIdentifier(1, 2))
    }
    let known = (1...9).filter { job.hasAccepted(Array(text: "\"r\($0)\"").span.digest) }
    #expect(known == Array(2...9))
  }

  // MARK: Reports

  /// In so many runs of the agent the server is told, if it never says that it knows.
  @Test func resultsAreToldInTenRuns() throws {
    var host = try host { job in
      job.observed = 1
      job.status = .unsupportedImage
      job.owesReport = true
    }
    var told = 0
    for _ in 0..<12 {
      let managed = try Managed(UpdaterTests.configuration, inflightMax: 40, host: host)
      try managed.connect()
      try managed.answerManage(200)
      let notices = try managed.published().filter { $0.hasPrefix("iotdevice-1/notify ") }
      if !notices.isEmpty { told += 1 }
      #expect(notices.allSatisfy { $0.contains("\"value\":{\"state\":0,\"updateStatus\":5}") })
      // The next run finds what this one has written.
      host = ScriptedHost()
      host.firmwareRecord = managed.rig.host.firmwareRecord
    }
    #expect(told == Int(AgentLimits.reportsMax))
    // Whoever asks then still learns it.
    let managed = try UpdaterTests.managed(host: host)
    managed.receive("observe", UpdaterTests.observation)
    #expect(try managed.answers().last?.contains("\"state\":0,\"updateStatus\":5,") == true)
  }

  // MARK: Times

  /// A device that has begun to install, and whose installer runs on.
  private func installing() throws -> Managed {
    let host = try host { job in
      job.stage = .installing
      job.status = .inProgress
    }
    let managed = try UpdaterTests.managed(host: host)
    // The server is told first, as long as it takes for that.
    managed.pass(AgentLimits.answerTimeout)
    return managed
  }

  @Test func anInstallerHasAnHour() throws {
    let managed = try installing()
    #expect(managed.rig.host.firmware.installs.count == 1)
    managed.pass(.seconds(3599))
    #expect(managed.rig.host.firmware.installerStops == 0)
    managed.pass(.seconds(1))
    managed.pass(.seconds(1))
    #expect(managed.rig.host.firmware.installerStops == 1)
    #expect(managed.rig.host.lines.contains("error firmware update-failed reason=timeout status=5"))
  }

  /// A program on trial.
  private func trying(hasPublished: Bool) throws -> Managed {
    let digest = Digest([UInt8](repeating: 7, count: 32).span)
    var host = try host { job in
      job.stage = .installing
      job.status = .inProgress
      job.set(.version, Array(text: "1.5.0").span)
      job.setTarget(digest.bytes.span, byteCount: 9)
    }
    var slots = SlotRecord()
    slots.noteVerified(.slotA, digest, version: Array(text: "1.5.0").span, securityVersion: 0)
    slots.beginTrial(.slotA)
    host.firmware.slots = slots
    host.firmware.running = .slotA
    let configuration = UpdaterTests.configuration.replacingOccurrences(
      of: "installer = command\nrun = /sbin/install",
      with: "installer = agent\nkey-file = /etc/mote/firmware.pub\ncompatible = acme-e7")
    let managed = try Managed(configuration, inflightMax: 40, host: host)
    try managed.connect()
    try managed.answerManage(200)
    try managed.acknowledge(1)
    if hasPublished { managed.rig.publish("{}", qos: .atMostOnce) }
    // The server has all that it was sent.
    for packet in try managed.rig.sentPackets() {
      if case .publish(let message) = packet.packet, message.packetIdentifier != 0 {
        try managed.acknowledge(UInt8(message.packetIdentifier))
      }
    }
    return managed
  }

  @Test(arguments: [(true, 30), (false, 300)])
  func aProgramOnTrialProvesItself(hasPublished: Bool, seconds: Int64) throws {
    let managed = try trying(hasPublished: hasPublished)
    #expect(managed.rig.host.lines.contains("info firmware on-trial version=1.5.0"))
    managed.pass(.seconds(seconds - 1))
    #expect(managed.rig.host.firmware.slots?.trial == .slotA)
    managed.pass(.seconds(1))
    managed.pass(AgentLimits.trialPause)
    #expect(managed.rig.host.firmware.slots?.active == .slotA)
    #expect(managed.rig.host.lines.contains { $0.hasPrefix("info firmware installed") })
  }
}
