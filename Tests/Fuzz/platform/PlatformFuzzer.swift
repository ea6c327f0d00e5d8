// Plays short scripts to the platform's rules, one command per line (README.md). Whatever the script: nothing traps,
// the platform sends nothing but whole packets that a server may send, nothing to who is not there, and forgets nobody.

import Bytes
import MQTT
import PlatformProtocol
import PlatformService

/// What the service asked for.
private final class Output: ServiceOutput {
  var open: Set<ConnectionID> = []
  var unread: [ConnectionID: [UInt8]] = [:]
  var operations: UInt64 = 0
  var messages = 0

  func send(_ bytes: Span<UInt8>, to connection: ConnectionID, after commit: CommitNumber) {
    precondition(open.contains(connection), "bytes for a connection that is not there")
    bytes.withUnsafeBufferPointer { unread[connection, default: []].append(contentsOf: $0) }
    checkPackets(connection)
  }

  private func checkPackets(_ connection: ConnectionID) {
    guard let bytes = unread.removeValue(forKey: connection) else { return }
    var start = 0
    while start < bytes.count {
      guard let extent = try? PacketExtent(bytes.span.extracting(start..<bytes.count)),
        extent.byteCount <= bytes.count - start,
        let packet = try? Packet.decode(bytes.span.extracting(start..<(start + extent.byteCount)))
      else { preconditionFailure("what was sent is no packet") }
      switch packet {
      case .publish: messages += 1
      case .connect, .subscribe, .unsubscribe, .pingreq, .disconnect: preconditionFailure("a packet of clients")
      default: break
      }
      start += extent.byteCount
    }
  }

  func close(_ connection: ConnectionID, code: ClosingCode, after commit: CommitNumber) {
    precondition(open.remove(connection) != nil, "closed twice")
  }

  func pauseReading(_ connection: ConnectionID, until moment: Instant) {}

  func store(_ operation: StoreOperation) -> CommitNumber {
    operations += 1
    return operations
  }

  func notify(observer: ObserverID, _ observation: Observation) {}
  func end(observer: ObserverID) {}
  func log(_ entry: ServiceLogEntry) {}
}

private let token = "a token of all"
private let clients = [
  "d:local0:edge:e1", "d:local0:edge:e2", "g:local0:gate:g1", "a:local0:app", "A:local0:app", "A:local0:app:one",
  "d:quickstart:t:d", "a:quickstart:app",
]

/// The platform and its clients.
private final class Player {
  let output = Output()
  let service: PlatformService
  var now = Moment(instant: Instant(milliseconds: 1_000_000), wall: WallTime(milliseconds: 1_700_000_000_000))
  var connections: [Int: ConnectionID] = [:]
  var nextConnection = 1
  private static let memoryBytes = 64 * 1024
  private let memory: UnsafeMutableRawPointer

  init() {
    service = PlatformService(
      ServiceConfiguration(organization: "local0", rates: .unlimited, random: { 0x1234_5678_9ABC_DEF0 }),
      output: output, now: now)
    memory = .allocate(byteCount: Player.memoryBytes, alignment: 16)
    _ = try? service.addType(DeviceTypeRecord(id: "edge"), now: now)
    _ = try? service.addType(DeviceTypeRecord(id: "gate", classID: .gateway), now: now)
    for (type, id) in [("edge", "e1"), ("edge", "e2"), ("gate", "g1")] {
      _ = try? service.addDevice(DeviceDraft(typeID: type, deviceID: id, token: token), now: now)
    }
    _ = try? service.addAPIKey(APIKeyDraft(key: "a-local0-key", token: token), now: now)
  }

  deinit { memory.deallocate() }

  /// `COMMAND CLIENT REST`
  func play(_ line: ArraySlice<UInt8>) {
    guard let command = line.first, line.count >= 2 else { return }
    let client = Int(line[line.startIndex + 1] & 7)
    let rest = Array(line.dropFirst(3))
    switch command {
    case UInt8(ascii: "c"), UInt8(ascii: "C"): connect(client, isClean: command == UInt8(ascii: "c"), will: rest)
    case UInt8(ascii: "0"), UInt8(ascii: "1"), UInt8(ascii: "2"):
      publish(client, rest, qos: QoS(rawValue: command - UInt8(ascii: "0")) ?? .atMostOnce)
    case UInt8(ascii: "s"):
      feed(client) { _ = $0.appendSubscribe(packetIdentifier: 7, filter: rest.span, qos: .exactlyOnce) }
    case UInt8(ascii: "u"): feed(client) { _ = $0.appendUnsubscribe(packetIdentifier: 7, filter: rest.span) }
    case UInt8(ascii: "a"): acknowledge(client, rest)
    case UInt8(ascii: "r"): feed(client) { $0.append(rest.span) }
    case UInt8(ascii: "x"): drop(client)
    case UInt8(ascii: "w"):
      if let id = connections[client] { service.setWritable(id, rest.first == UInt8(ascii: "y"), now: now) }
    case UInt8(ascii: "t"): wait(client + 1)
    case UInt8(ascii: "m"): manage(rest)
    default: break
    }
  }

  private func connect(_ client: Int, isClean: Bool, will: [UInt8]) {
    drop(client)
    let id = nextConnection
    nextConnection += 1
    output.open.insert(id)
    precondition(
      service.open(
        id, peer: Peer(address: "192.0.2.1", port: 1883, isSecure: true, isWebSocket: false), now: now))
    connections[client] = id
    let name = Array(clients[client].utf8)
    let isApplication = client >= 3 && client <= 5
    let user = Array((isApplication ? "a-local0-key" : "use-token-auth").utf8)
    let password = Array(token.utf8)
    let isQuickstart = client >= 6
    feed(client) {
      let fields = ConnectFields(
        clientID: name.span, userName: isQuickstart ? nil : user.span, password: isQuickstart ? nil : password.span,
        will: will.isEmpty
          ? nil : WillFields(topic: will.span, payload: will.span, qos: .atLeastOnce, isRetained: true))
      _ = $0.appendConnect(fields, cleanSession: isClean, keepAliveSeconds: 60)
    }
  }

  /// `TOPIC PAYLOAD`
  private func publish(_ client: Int, _ text: [UInt8], qos: QoS) {
    let end = text.firstIndex(of: UInt8(ascii: " ")) ?? text.count
    feed(client) {
      _ = $0.appendPublish(
        topic: text.span.extracting(0..<end), payload: text.span.extracting(min(end + 1, text.count)..<text.count),
        qos: qos, isRetained: true, isDuplicate: false, packetIdentifier: qos == .atMostOnce ? 0 : 3)
    }
  }

  private func acknowledge(_ client: Int, _ text: [UInt8]) {
    let types: [PacketType] = [.puback, .pubrec, .pubrel, .pubcomp]
    for byte in text.prefix(8) {
      feed(client) {
        _ = $0.appendAnswer(types[Int(byte & 3)], packetIdentifier: UInt16(byte >> 2) + 1)
      }
    }
  }

  private func manage(_ text: [UInt8]) {
    let actions = ["device/reboot", "firmware/download", "firmware/update", "device/factoryReset"]
    let draft = ManagementRequestDraft(
      action: actions[Int(text.first ?? 0) & 3], devices: [DeviceKey(typeID: "edge", deviceID: "e1")],
      timeoutSeconds: 5, overrides: text.count > 1)
    _ = try? service.addRequest(draft, now: now)
  }

  private func feed(_ client: Int, _ write: (inout ByteBuffer) -> Void) {
    guard let id = connections[client], output.open.contains(id) else { return }
    var packet = ByteBuffer(Region(start: memory, count: Player.memoryBytes))
    write(&packet)
    let bytes = packet.span.withUnsafeBufferPointer { Array($0) }
    let consumed = service.receive(id, bytes.span, now: now)
    precondition(consumed >= 0 && consumed <= bytes.count)
  }

  private func drop(_ client: Int) {
    guard let id = connections.removeValue(forKey: client), output.open.remove(id) != nil else { return }
    service.closed(id, code: .byClient, now: now)
  }

  private func wait(_ seconds: Int) {
    now = Moment(
      instant: now.instant + .seconds(Int64(seconds)),
      wall: WallTime(milliseconds: now.wall.milliseconds + Int64(seconds) * 1000))
    service.tick(now: now)
  }

  func check() { precondition(service.connectionCount == output.open.count, "a connection was forgotten") }
}

/// That the optimised rules work at all: an event reaches an application.
private let works: Bool = {
  let player = Player()
  for line in [
    "c3", "s3 iot-2/type/+/id/+/evt/+/fmt/+", "c0", "10 iot-2/evt/a/fmt/json {}",
  ] { player.play(Array(line.utf8)[...]) }
  return player.output.messages == 1
}()

/// What libFuzzer calls with each script.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzPlatform(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  precondition(works, "an event does not reach its subscriber")
  let player = Player()
  for line in UnsafeBufferPointer(start: start, count: count).split(separator: UInt8(ascii: "\n")).prefix(100) {
    player.play(Array(line)[...])
    player.check()
  }
  return 0
}
