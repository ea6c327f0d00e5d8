// The device-management server behind the broker, as an application's request sees it.

import Bytes
import Foundation

/// What an application wants done to the device.
public struct ManagementJob {
  /// How far it has come.
  public enum State: Equatable, Sendable {
    /// The device has not answered.
    case asked
    /// It has said that it will be done.
    case accepted
    /// The device came back, in this run of the machine.
    case complete(run: UInt64)
    /// The device said that it cannot.
    case failed(code: Int)
  }

  /// The request's identifier.
  public let identifier: String
  /// In which run of the machine it was asked for.
  public let run: UInt64
  /// How far it has come.
  public internal(set) var state = State.asked
  /// The codes of all answers, those that were sent again not included.
  public internal(set) var codes: [Int] = []
}

/// The server.
final class ManagementServer: BrokerObserver {
  private let world: World
  private let broker: Broker
  private let machine: Machine
  private(set) var jobs: [ManagementJob] = []
  /// The manage requests that came.
  private(set) var manages: [[String: Any]] = []
  /// Other answers, by their identifiers.
  private(set) var answers: [String: [String: Any]] = [:]
  /// Where the device was, one after the other.
  private(set) var locations: [[Double]] = []
  /// What the next manage requests are answered; 200 behind them.
  var manageCodes: [Int?] = []
  /// Is told of each accepted manage request.
  var observeManaged: (() -> Void)?

  init(world: World, broker: Broker, machine: Machine) {
    self.world = world
    self.broker = broker
    self.machine = machine
  }

  func brokerAccepted(_ message: PublishPacket, epoch: Int, at time: Instant) {
    let topic = String(decoding: message.topic, as: UTF8.self)
    guard topic.hasPrefix("iotdevice-1/") else { return }
    guard let body = try? JSONSerialization.jsonObject(with: Data(message.payload)) as? [String: Any] else {
      return world.violate("\(topic) is no JSON")
    }
    if message.qos != 1 { world.violate("\(topic) with QoS \(message.qos)") }
    switch topic {
    case "iotdevice-1/mgmt/manage": takeManage(body, isDuplicate: message.isDuplicate)
    case "iotdevice-1/response": takeAnswer(body, isDuplicate: message.isDuplicate)
    case "iotdevice-1/add/diag/errorCodes", "iotdevice-1/add/diag/log": takeDiagnosis(body, on: topic)
    case "iotdevice-1/device/update/location": takeLocation(body, isDuplicate: message.isDuplicate)
    default: world.violate("unknown topic \(topic)")
    }
  }

  /// Where the device is (protocol 4.7).
  private func takeLocation(_ body: [String: Any], isDuplicate: Bool) {
    guard let identifier = body["reqId"] as? String, let place = body["d"] as? [String: Any],
      let latitude = place["latitude"] as? Double, let longitude = place["longitude"] as? Double,
      abs(latitude) <= 90, abs(longitude) <= 180
    else { return world.violate("a location with \(body)") }
    if manages.isEmpty { world.violate("a location of a device that is not managed") }
    if !isDuplicate { locations.append([latitude, longitude]) }
    send("response", "{\"rc\":200,\"reqId\":\"\(identifier)\"}")
  }

  func brokerDelivered(_ payload: [UInt8]) {}
  func brokerLost(_ payload: [UInt8]) {}

  private func takeManage(_ body: [String: Any], isDuplicate: Bool) {
    guard let identifier = body["reqId"] as? String else { return world.violate("manage without reqId") }
    if !isDuplicate { manages.append(body) }
    let code = manageCodes.isEmpty ? 200 : manageCodes.removeFirst()
    guard let code else { return }
    send("response", "{\"rc\":\(code),\"reqId\":\"\(identifier)\"}")
    guard code == 200 else { return }
    for index in jobs.indices where jobs[index].state == .accepted { jobs[index].state = .complete(run: machine.run) }
    observeManaged?()
  }

  /// An error code, or an entry for the device's log (protocol 4.8).
  private func takeDiagnosis(_ body: [String: Any], on topic: String) {
    guard let identifier = body["reqId"] as? String, let what = body["d"] as? [String: Any] else {
      return world.violate("\(topic) without reqId or d")
    }
    let isWhole =
      topic.hasSuffix("log")
      ? what["message"] is String && what["timestamp"] is String && (0...2).contains(what["severity"] as? Int ?? -1)
      : what["errorCode"] is Int
    if !isWhole { world.violate("\(topic) with \(what)") }
    if manages.isEmpty { world.violate("\(topic) of a device that is not managed") }
    send("response", "{\"rc\":200,\"reqId\":\"\(identifier)\"}")
  }

  private func takeAnswer(_ body: [String: Any], isDuplicate: Bool) {
    guard let code = body["rc"] as? Int else { return world.violate("an answer without a code") }
    guard let identifier = body["reqId"] as? String else { return world.violate("an answer without reqId") }
    guard let index = jobs.firstIndex(where: { $0.identifier == identifier }) else {
      if answers[identifier] != nil, !isDuplicate { world.violate("two answers to \(identifier)") }
      answers[identifier] = body
      return
    }
    if !isDuplicate { jobs[index].codes.append(code) }
    switch (jobs[index].state, code) {
    case (.asked, 202): jobs[index].state = .accepted
    case (.asked, 400...), (.accepted, 400...): jobs[index].state = .failed(code: code)
    default: break
    }
  }

  /// Sends a request of any kind.
  func send(_ path: String, _ payload: String) {
    broker.publish(topic: Array("iotdm-1/\(path)".utf8), payload: Array(payload.utf8), qos: 1)
  }

  /// Asks for `action`, `reboot` or `factory_reset`.
  func start(_ action: String, identifier: String) {
    jobs.append(ManagementJob(identifier: identifier, run: machine.run))
    send("mgmt/initiate/device/\(action)", "{\"reqId\":\"\(identifier)\"}")
  }
}
