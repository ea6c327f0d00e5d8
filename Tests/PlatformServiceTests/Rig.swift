// A platform without sockets: clients are scripted packet by packet, time moves when a test says so, and every output
// is kept.

import Bytes
import MQTT
import PlatformProtocol
import PlatformService
import TestSupport

/// What the service asked for.
final class RecordedOutput: ServiceOutput {
  var sent: [ConnectionID: [UInt8]] = [:]
  /// What waits for which commit, where something does.
  var waits: [(connection: ConnectionID, commit: CommitNumber)] = []
  var closed: [ConnectionID: ClosingCode] = [:]
  var pauses: [ConnectionID: Instant] = [:]
  var operations: [StoreOperation] = []
  var observations: [Observation] = []
  var told: [ObserverID] = []
  var endedObservers: [ObserverID] = []
  var entries: [ServiceLogEntry] = []
  var keeps = true

  func send(_ bytes: Span<UInt8>, to connection: ConnectionID, after commit: CommitNumber) {
    sent[connection, default: []] += Array(bytes)
    if commit > 0 { waits.append((connection, commit)) }
  }

  func close(_ connection: ConnectionID, code: ClosingCode, after commit: CommitNumber) { closed[connection] = code }
  func pauseReading(_ connection: ConnectionID, until moment: Instant) { pauses[connection] = moment }

  func store(_ operation: StoreOperation) -> CommitNumber {
    operations.append(operation)
    return keeps ? 1 : 0
  }

  func notify(observer: ObserverID, _ observation: Observation) {
    told.append(observer)
    observations.append(observation)
  }
  func end(observer: ObserverID) { endedObservers.append(observer) }
  func log(_ entry: ServiceLogEntry) { entries.append(entry) }
}

/// One packet that the platform sent, as a test wants to see it.
enum Received: Equatable {
  case connack(sessionPresent: Bool, code: UInt8)
  case message(topic: String, payload: String, qos: UInt8, dup: Bool, retained: Bool, identifier: UInt16)
  case puback(UInt16), pubrec(UInt16), pubrel(UInt16), pubcomp(UInt16), unsuback(UInt16)
  case suback(UInt16, [UInt8])
  case pingresp
  case other
}

/// The platform and its clients.
final class Rig {
  let output = RecordedOutput()
  private(set) var service: PlatformService
  private(set) var now: Moment
  private var nextConnection = 1
  static let token = "a token of e1"
  static let apiKey = "a-local0-key"

  init(
    rates: ServiceConfiguration.RatePlan = .unlimited, state: StoredState = StoredState(), registers: Bool = true
  ) throws {
    now = Moment(instant: Instant(milliseconds: 1_000_000), wall: WallTime(milliseconds: 1_700_000_000_000))
    service = PlatformService(
      ServiceConfiguration(organization: "local0", rates: rates, random: { UInt64.random(in: .min ... .max) }),
      state: state, output: output, now: now)
    guard registers else { return }
    _ = try service.addType(DeviceTypeRecord(id: "edge"), now: now)
    _ = try service.addType(DeviceTypeRecord(id: "gate", classID: .gateway), now: now)
    for name in ["e1", "e2"] {
      _ = try service.addDevice(DeviceDraft(typeID: "edge", deviceID: name, token: Rig.token), now: now)
    }
    _ = try service.addDevice(DeviceDraft(typeID: "gate", deviceID: "g1", token: Rig.token), now: now)
    _ = try service.addAPIKey(APIKeyDraft(key: Rig.apiKey, token: Rig.token), now: now)
  }

  /// Lets time pass; the platform looks at what is due each second.
  func wait(_ seconds: Int) {
    for _ in 0..<seconds {
      now = Moment(
        instant: now.instant + .seconds(1), wall: WallTime(milliseconds: now.wall.milliseconds + 1000))
      service.tick(now: now)
    }
  }

  /// The same for a long time in which nothing is due but at its end.
  func leap(_ seconds: Int) {
    now = Moment(
      instant: now.instant + .seconds(Int64(seconds - 1)),
      wall: WallTime(milliseconds: now.wall.milliseconds + Int64(seconds - 1) * 1000))
    wait(1)
  }

  /// Connects a client, and gives its connection; nil for credentials means those that are right.
  func connect(
    _ clientID: String, user: String? = nil, password: String? = nil, clean: Bool = true, keepAlive: UInt16 = 60,
    will: (topic: String, payload: String)? = nil
  ) -> ConnectionID {
    let id = nextConnection
    nextConnection += 1
    _ = service.open(id, peer: Peer(address: "192.0.2.1", port: 1883, isSecure: true, isWebSocket: false), now: now)
    let isApplication = clientID.lowercased().hasPrefix("a")
    let isQuickstart = clientID.contains("quickstart")
    let user = Array(text: user ?? (isApplication ? Rig.apiKey : "use-token-auth"))
    let password = Array(text: password ?? Rig.token)
    let name = Array(text: clientID)
    let topic = Array(text: will?.topic ?? "")
    let payload = Array(text: will?.payload ?? "")
    var packet = makeBuffer(capacity: 4096)
    let willFields =
      will == nil ? nil : WillFields(topic: topic.span, payload: payload.span, qos: .atLeastOnce, isRetained: true)
    let fields = ConnectFields(
      clientID: name.span, userName: isQuickstart ? nil : user.span, password: isQuickstart ? nil : password.span,
      will: willFields)
    _ = packet.appendConnect(fields, cleanSession: clean, keepAliveSeconds: keepAlive)
    feed(id, Array(packet.span))
    return id
  }

  /// Hands bytes over, and gives how many were consumed.
  @discardableResult
  func feed(_ id: ConnectionID, _ bytes: [UInt8]) -> Int { service.receive(id, bytes.span, now: now) }

  private func send(_ id: ConnectionID, _ write: (inout ByteBuffer) -> Bool) {
    var packet = makeBuffer(capacity: 200_000)
    _ = write(&packet)
    feed(id, Array(packet.span))
  }

  func publish(
    _ id: ConnectionID, _ topic: String, _ payload: String = "{}", qos: QoS = .atLeastOnce, identifier: UInt16 = 1,
    dup: Bool = false, retain: Bool = false
  ) {
    let topic = Array(text: topic)
    let payload = Array(text: payload)
    send(id) {
      $0.appendPublish(
        topic: topic.span, payload: payload.span, qos: qos, isRetained: retain, isDuplicate: dup,
        packetIdentifier: qos == .atMostOnce ? 0 : identifier)
    }
  }

  func subscribe(_ id: ConnectionID, _ filter: String, qos: QoS = .atLeastOnce) {
    let filter = Array(text: filter)
    send(id) { $0.appendSubscribe(packetIdentifier: 9, filter: filter.span, qos: qos) }
  }

  func unsubscribe(_ id: ConnectionID, _ filter: String) {
    let filter = Array(text: filter)
    send(id) { $0.appendUnsubscribe(packetIdentifier: 8, filter: filter.span) }
  }

  func answer(_ id: ConnectionID, _ type: PacketType, _ identifier: UInt16) {
    send(id) { $0.appendAnswer(type, packetIdentifier: identifier) }
  }

  func disconnect(_ id: ConnectionID) { send(id) { $0.appendBare(.disconnect) } }
  func ping(_ id: ConnectionID) { send(id) { $0.appendBare(.pingreq) } }
  func drop(_ id: ConnectionID) { service.closed(id, code: .byClient, now: now) }

  /// What the platform sent to a connection since this was last asked.
  func received(_ id: ConnectionID) -> [Received] {
    var bytes = output.sent.removeValue(forKey: id) ?? []
    var result: [Received] = []
    while let extent = try? PacketExtent(bytes.span), extent.byteCount <= bytes.count {
      let packet = Array(bytes.prefix(extent.byteCount))
      bytes.removeFirst(extent.byteCount)
      result.append(Rig.describe(packet))
    }
    return result
  }

  private static func describe(_ bytes: [UInt8]) -> Received {
    switch try? Packet.decode(bytes.span) {
    case .connack(let sessionPresent, let code): .connack(sessionPresent: sessionPresent, code: code)
    case .publish(let publish):
      .message(
        topic: Array(bytes[publish.topic]).text, payload: Array(bytes[publish.payload]).text,
        qos: publish.qos.rawValue, dup: publish.isDuplicate, retained: publish.isRetained,
        identifier: publish.packetIdentifier)
    case .puback(let identifier): .puback(identifier)
    case .pubrec(let identifier): .pubrec(identifier)
    case .pubrel(let identifier): .pubrel(identifier)
    case .pubcomp(let identifier): .pubcomp(identifier)
    case .unsuback(let identifier): .unsuback(identifier)
    case .suback(let identifier, let codes): .suback(identifier, Array(bytes[codes]))
    case .pingresp: .pingresp
    default: .other
    }
  }

  /// The topics and payloads of the messages among what was received.
  func messages(_ id: ConnectionID) -> [String] {
    received(id).compactMap {
      if case .message(let topic, let payload, _, _, _, _) = $0 { "\(topic) \(payload)" } else { nil }
    }
  }

  /// The last device-management message to a connection: its path and body. Acknowledged.
  func management(_ id: ConnectionID) -> (path: String, body: JSONValue)? {
    var last: (String, JSONValue)?
    for case .message(let topic, let payload, let qos, _, _, let identifier) in received(id) {
      last = (topic, JSONValue(text: payload) ?? .null)
      if qos == 1 { answer(id, .puback, identifier) }
    }
    return last
  }

  /// Starts anew with what was stored, as after a crash.
  func restart(with state: StoredState) throws -> Rig { try Rig(state: state, registers: false) }
}
