// The device-management server that updates firmware, as protocol 4.13 and 4.14 have it: each answer triggers the next
// request, and a device that comes back is asked once more what it has not answered.

import Bytes
import Foundation

/// One request of an operator for a device's firmware.
public struct FirmwareRequest {
  /// What the device is asked now.
  public enum Step: Equatable, Sendable {
    case update, observe, initiate, working, cancel
    case done
    case failed(String)
  }

  /// `download` or `update`.
  public let action: String
  /// The record that goes before it; nil for none.
  public let record: String?
  /// How far it has come.
  public internal(set) var step: Step
  /// The codes that it was answered, each question's with its name.
  public internal(set) var answers: [String] = []
  /// The notices that came for it.
  public internal(set) var notices: [String] = []
  var identifier = ""
  var connection = 0
  var isAskedManaged = false
}

/// The server.
final class FirmwareServer: BrokerObserver {
  private let world: World
  private let broker: Broker
  private(set) var requests: [FirmwareRequest] = []
  private(set) var manages: [[String: Any]] = []
  private var isObserved = false
  private var managedConnection = 0
  private var count = 0
  /// The last version that the device said to have, and the last notice.
  private(set) var version = ""
  private(set) var lastState = (state: 0, status: 0)
  /// The device's own faults that it told.
  private(set) var errorCodes: [Int] = []
  /// All that went over the wire, for comparison with the protocol.
  private(set) var wire: [String] = []

  init(world: World, broker: Broker) {
    self.world = world
    self.broker = broker
  }

  func brokerDelivered(_ payload: [UInt8]) {}
  func brokerLost(_ payload: [UInt8]) {}

  func brokerAccepted(_ message: PublishPacket, epoch: Int, at time: Instant) {
    let topic = String(decoding: message.topic, as: UTF8.self)
    guard topic.hasPrefix("iotdevice-1/") else { return }
    wire.append("\(topic) \(String(decoding: message.payload, as: UTF8.self))")
    world.note("server got \(wire.last ?? "")")
    guard let body = try? JSONSerialization.jsonObject(with: Data(message.payload)) as? [String: Any],
      let identifier = body["reqId"] as? String
    else { return world.violate("\(topic) is no message") }
    switch topic {
    case "iotdevice-1/mgmt/manage": takeManage(body, identifier)
    case "iotdevice-1/notify": takeNotice(body, identifier)
    case "iotdevice-1/response": takeAnswer(body, identifier)
    case "iotdevice-1/add/diag/errorCodes":
      if let code = (body["d"] as? [String: Any])?["errorCode"] as? Int { errorCodes.append(code) }
      reply(200, identifier)
    case "iotdevice-1/add/diag/log": reply(200, identifier)
    default: world.violate("unknown topic \(topic)")
    }
  }

  private func takeManage(_ body: [String: Any], _ identifier: String) {
    manages.append(body)
    let data = body["d"] as? [String: Any]
    version = (data?["deviceInfo"] as? [String: Any])?["fwVersion"] as? String ?? ""
    reply(200, identifier)
    // What waits in a durable session comes by itself, and what was sent before there was a subscription does not.
    guard let request = requests.last else { return }
    if broker.connectionCount != request.connection || !request.isAskedManaged { ask(again: true) }
    managedConnection = broker.connectionCount
    requests[requests.count - 1].isAskedManaged = true
  }

  private func reply(_ code: Int, _ identifier: String) {
    send("response", "{\"rc\":\(code),\"reqId\":\"\(identifier)\"}")
  }

  private func send(_ path: String, _ payload: String) {
    world.note("server sends \(path) \(payload)")
    broker.publish(topic: Array("iotdm-1/\(path)".utf8), payload: Array(payload.utf8), qos: 1)
  }

  /// Begins a request.
  func begin(_ action: String, record: String?) {
    requests.append(FirmwareRequest(action: action, record: record, step: record == nil ? .observe : .update))
    ask(again: false)
  }

  private func ask(again: Bool) {
    guard let index = requests.indices.last else { return }
    if !again {
      count += 1
      requests[index].identifier = "q\(count)"
    }
    requests[index].connection = broker.connectionCount
    requests[index].isAskedManaged = managedConnection == broker.connectionCount
    let identifier = requests[index].identifier
    let field = "\"field\":\"mgmt.firmware\""
    switch requests[index].step {
    case .update:
      send(
        "device/update",
        "{\"d\":{\"fields\":[{\(field),\"value\":\(requests[index].record ?? "{}")}]},\"reqId\":\"\(identifier)\"}")
    case .observe: send("observe", "{\"d\":{\"fields\":[{\(field)}]},\"reqId\":\"\(identifier)\"}")
    case .initiate: send("mgmt/initiate/firmware/\(requests[index].action)", "{\"reqId\":\"\(identifier)\"}")
    case .cancel: send("cancel", "{\"d\":{\"fields\":[{\(field)}]},\"reqId\":\"\(identifier)\"}")
    case .working, .done, .failed: break
    }
  }

  private func takeAnswer(_ body: [String: Any], _ identifier: String) {
    guard let code = body["rc"] as? Int else { return world.violate("an answer without a code") }
    guard let index = requests.indices.last, requests[index].identifier == identifier else {
      // Late, or a repetition: harmless as long as it does not say something else.
      return world.mark("late-answer")
    }
    let step = requests[index].step
    requests[index].answers.append("\(step) \(code)")
    switch (step, code) {
    case (.update, 204): requests[index].step = .observe
    case (.observe, 200):
      isObserved = true
      requests[index].step = .initiate
    case (.initiate, 202): requests[index].step = .working
    case (.cancel, 200):
      isObserved = false
      requests[index].step = .done
    case (.working, 202): return world.mark("accepted-twice")
    case (.done, _), (.failed, _): return
    default:
      requests[index].step = .failed("\(step) \(code) \(body["message"] ?? "")")
      return
    }
    if requests[index].step != .working { ask(again: false) }
  }

  private func takeNotice(_ body: [String: Any], _ identifier: String) {
    guard isObserved else { return reply(404, identifier) }
    let fields = (body["d"] as? [String: Any])?["fields"] as? [[String: Any]] ?? []
    guard let value = fields.first?["value"] as? [String: Any], let state = value["state"] as? Int,
      let status = value["updateStatus"] as? Int
    else { return world.violate("a notice without a value") }
    reply(200, identifier)
    lastState = (state, status)
    guard let index = requests.indices.last else { return }
    requests[index].notices.append("\(state)/\(status)")
    switch requests[index].step {
    case .working: break
    case .initiate: return world.violate("a notice in front of the answer")
    default: return
    }
    let isDownload = requests[index].action == "download"
    if status > 1 {
      requests[index].step = .failed("status \(status)")
      isObserved = false
      send("cancel", "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\"}]},\"reqId\":\"late\(count)\"}")
    } else if isDownload ? state == 2 : state == 0 && status == 0 {
      requests[index].step = .cancel
      ask(again: false)
    }
  }
}
