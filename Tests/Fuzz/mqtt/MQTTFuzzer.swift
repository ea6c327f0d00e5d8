// Plays short scripts to a client, one command per line (README.md). Whatever the script: nothing traps, the client
// writes nothing but whole packets that a client may send, keeps its window and its deadlines, and tells nothing out of
// range. What is received is also given to the packet decoder, and what that takes is encoded again.

import Bytes
import MQTT

/// Memory that lasts for the whole run; `zeroed` makes it as good as new.
private struct Block: @unchecked Sendable {
  let start: UnsafeMutableRawPointer
  let count: Int

  init(_ count: Int) {
    start = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
    self.count = count
  }

  func zeroed() -> Region {
    start.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    return Region(start: start, count: count)
  }
}

private let clientBlock = Block(64 * 1024)
private let encodeBlock = Block(16 * 1024)

/// What libFuzzer calls with each script.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzMQTT(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let script = Array(UnsafeBufferPointer(start: start, count: count))
  let lines = script.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true)
  var player = Player(options: lines.first.map { Array($0) } ?? [])
  for line in lines.prefix(200) {
    player.play(Array(line))
    player.check()
  }
  return 0
}

/// A client and what has been seen of it.
private struct Player: ~Copyable {
  var client: Client
  let window: Int
  let hasLargeBuffers: Bool
  var now = Instant(milliseconds: 1_000_000)
  /// Bytes that the client wrote and that do not make a packet yet.
  var written: [UInt8] = []
  var isOpen = false
  var isConnected = false
  var hasEnded = false
  var token: UInt64 = 0
  var unacknowledged: Set<UInt64> = []

  /// The first line's letters are options: `D` durable, `1` window of one, `k` no keep alive, `B` larger buffers.
  init(options letters: [UInt8]) {
    func has(_ letter: Unicode.Scalar) -> Bool { letters.contains(UInt8(ascii: letter)) }
    window = has("1") ? 1 : 4
    hasLargeBuffers = has("B")
    var arena = Arena(clientBlock.zeroed())
    let options = ClientOptions(
      keepAlive: has("k") ? .zero : .seconds(30), cleanSession: !has("D"), inflightMax: window,
      firstPacketIdentifier: 65_530)
    guard let client = try? Client(options: options, packetBytesMax: hasLargeBuffers ? 4096 : 128, from: &arena) else {
      fatalError("the arena is too small")
    }
    self.client = client
  }

  mutating func play(_ line: [UInt8]) {
    let rest = Array(line.dropFirst())
    switch line[0] {
    case UInt8(ascii: "<"): receive(bytes(ofHex: rest))
    case UInt8(ascii: ">"): send(Int(rest.first ?? 255))
    case UInt8(ascii: "o"): open()
    case UInt8(ascii: "x"): close()
    case UInt8(ascii: "d"):
      client.disconnect(now: now)
      hasEnded = true
    case UInt8(ascii: "p"): publish(rest)
    case UInt8(ascii: "s"): _ = client.subscribe(filter: rest.span, qos: .exactlyOnce, now: now)
    case UInt8(ascii: "u"): _ = client.unsubscribe(filter: rest.span, now: now)
    case UInt8(ascii: "w"): wait(Int64(rest.first ?? 1))
    default: break
    }
  }

  private mutating func open() {
    let clientID = Array("c".utf8)
    do throws(OpenRefusal) {
      try client.open(ConnectFields(clientID: clientID.span), now: now)
      precondition(!isOpen, "opened twice")
      isOpen = true
      hasEnded = false
    } catch {
      precondition(isOpen, "not opened")
    }
  }

  private mutating func close() {
    client.linkClosed()
    isOpen = false
    isConnected = false
    written = []
  }

  private mutating func publish(_ letters: [UInt8]) {
    let qos = QoS(rawValue: (letters.first ?? 0) & 3) ?? .atMostOnce
    let topic = Array(letters.dropFirst())
    let payload = [UInt8](repeating: 0x70, count: (topic.count &* 7) % 120 * (hasLargeBuffers ? 32 : 1))
    token += 1
    let before = (client.output.count, client.inflightCount)
    do throws(PublishRefusal) {
      try client.publish(topic: topic.span, payload: payload.span, qos: qos, token: token, now: now)
      precondition(client.output.count > before.0, "published nothing")
      precondition(client.inflightCount == before.1 + (qos == .atMostOnce ? 0 : 1), "a wrong window")
      if qos != .atMostOnce { unacknowledged.insert(token) }
    } catch {
      precondition((client.output.count, client.inflightCount) == before, "a refusal that changed something")
      if error == .tooLarge { precondition(!client.fits(byteCount: topic.count + payload.count, qos: qos)) }
    }
  }

  private mutating func wait(_ seconds: Int64) {
    now = now + .seconds(seconds)
    do throws(PeerFault) { try client.tick(now: now) } catch {
      precondition(error.kind == .timeout)
      hasEnded = true
    }
    let deadline = client.deadline()
    if deadline != .never {
      precondition(hasEnded || deadline > now, "a deadline that tick did not serve")
    }
  }

  /// Takes `byteCount` bytes off the output, and checks the packets that they complete.
  private mutating func send(_ byteCount: Int) {
    let count = min(byteCount, client.output.count)
    for index in 0..<count { written.append(client.output[index]) }
    client.removeSent(count, now: now)
    while let extent = try? PacketExtent(written.span), written.count >= extent.byteCount {
      let packet = Array(written.prefix(extent.byteCount))
      written.removeFirst(extent.byteCount)
      guard let decoded = try? Packet.decode(packet.span) else { fatalError("wrote what is no packet: \(packet)") }
      switch decoded {
      case .connack, .suback, .unsuback, .pingresp: fatalError("wrote what only servers send: \(decoded)")
      case .connect: break
      default: precondition(isConnected || hasEnded, "wrote \(decoded) before CONNACK")
      }
    }
    precondition(written.count < 5 || (try? PacketExtent(written.span)) != nil)
  }

  private mutating func receive(_ bytes: [UInt8]) {
    checkCodec(bytes)
    guard isOpen else { return }
    var rest = bytes[...]
    repeat {
      let count = min(rest.count, client.input.freeCount)
      client.input.append(Array(rest.prefix(count)).span)
      rest = rest.dropFirst(count)
      takeEvents()
      if client.input.freeCount == 0 {
        precondition(hasEnded || client.output.freeCount < 8, "a full input that nobody reads")
        send(255)
        takeEvents()
        if client.input.freeCount == 0 { return }
      }
    } while !rest.isEmpty
  }

  private mutating func takeEvents() {
    do throws(PeerFault) {
      while let event = try client.nextEvent(now: now) {
        precondition(!hasEnded, "told something after the end")
        see(event)
      }
    } catch {
      precondition(error.kind != .timeout && !hasEnded)
      hasEnded = true
    }
  }

  private mutating func see(_ event: ClientEvent) {
    switch event {
    case .connected:
      precondition(!isConnected)
      isConnected = true
    case .refused: hasEnded = true
    case .acknowledged(let token):
      precondition(unacknowledged.remove(token) != nil, "acknowledged twice or never published")
    case .message(let message):
      let count = client.input.count
      precondition(message.topic.upperBound <= count && message.payload.upperBound <= count)
      precondition(message.isTruncated || topicNameFault(client.input.span.extracting(message.topic)) == nil)
      precondition((message.qos == .atMostOnce) == (message.packetIdentifier == 0))
    case .subscribed, .unsubscribed, .pingResponse, .qosLowered: break
    }
  }

  func check() {
    precondition(client.inflightCount == unacknowledged.count, "lost a message")
    precondition(client.inflightCount <= window, "more in flight than the window")
    if isOpen && (hasEnded || !isConnected || client.inflightCount > 0 || !client.output.isEmpty) {
      precondition(client.deadline() != .never, "a state without a deadline")
    }
  }
}

/// What the decoder takes is well-formed: encoded again, it decodes to the same.
private func checkCodec(_ bytes: [UInt8]) {
  guard let packet = try? Packet.decode(bytes.span) else { return }
  var buffer = ByteBuffer(encodeBlock.zeroed())
  let isWritten: Bool
  switch packet {
  case .connect(let connect): isWritten = encode(connect, of: bytes, to: &buffer)
  case .connack(let sessionPresent, let returnCode):
    isWritten = buffer.appendConnack(sessionPresent: sessionPresent, returnCode: returnCode)
  case .publish(let publish):
    isWritten = buffer.appendPublish(
      topic: bytes.span.extracting(publish.topic), payload: bytes.span.extracting(publish.payload), qos: publish.qos,
      isRetained: publish.isRetained, isDuplicate: publish.isDuplicate, packetIdentifier: publish.packetIdentifier)
  case .puback(let packetIdentifier): isWritten = buffer.appendAnswer(.puback, packetIdentifier: packetIdentifier)
  case .pubrec(let packetIdentifier): isWritten = buffer.appendAnswer(.pubrec, packetIdentifier: packetIdentifier)
  case .pubrel(let packetIdentifier): isWritten = buffer.appendAnswer(.pubrel, packetIdentifier: packetIdentifier)
  case .pubcomp(let packetIdentifier): isWritten = buffer.appendAnswer(.pubcomp, packetIdentifier: packetIdentifier)
  case .unsuback(let packetIdentifier): isWritten = buffer.appendAnswer(.unsuback, packetIdentifier: packetIdentifier)
  case .suback(let packetIdentifier, let returnCodes):
    isWritten = buffer.appendSuback(
      packetIdentifier: packetIdentifier, returnCodes: bytes.span.extracting(returnCodes))
  case .subscribe(let packetIdentifier, var filters):
    // The encoder writes one filter; only such packets come back the same.
    guard let (filter, qos) = Packet.nextSubscription(in: bytes.span, &filters), filters.isEmpty else { return }
    isWritten = buffer.appendSubscribe(
      packetIdentifier: packetIdentifier, filter: bytes.span.extracting(filter), qos: qos)
  case .unsubscribe(let packetIdentifier, var filters):
    guard let filter = Packet.nextFilter(in: bytes.span, &filters), filters.isEmpty else { return }
    isWritten = buffer.appendUnsubscribe(packetIdentifier: packetIdentifier, filter: bytes.span.extracting(filter))
  case .pingreq: isWritten = buffer.appendBare(.pingreq)
  case .pingresp: isWritten = buffer.appendBare(.pingresp)
  case .disconnect: isWritten = buffer.appendBare(.disconnect)
  }
  precondition(isWritten, "could not encode what was decoded")
  // A remaining length of more bytes than needed is legal, and is not written again.
  var written: [UInt8] = []
  for index in 0..<buffer.count { written.append(buffer[index]) }
  guard let extent = try? PacketExtent(bytes.span), let again = try? PacketExtent(written.span) else {
    fatalError("no extent")
  }
  precondition(written[0] == bytes[0])
  precondition(Array(written.dropFirst(again.headerCount)) == Array(bytes.dropFirst(extent.headerCount)))
}

private func encode(_ connect: Connect, of bytes: [UInt8], to buffer: inout ByteBuffer) -> Bool {
  let span = bytes.span
  let userName: Span<UInt8>? = if let range = connect.userName { span.extracting(range) } else { nil }
  let password: Span<UInt8>? = if let range = connect.password { span.extracting(range) } else { nil }
  guard let will = connect.will else {
    return buffer.appendConnect(
      ConnectFields(clientID: span.extracting(connect.clientID), userName: userName, password: password),
      cleanSession: connect.cleanSession, keepAliveSeconds: connect.keepAliveSeconds)
  }
  return buffer.appendConnect(
    ConnectFields(
      clientID: span.extracting(connect.clientID), userName: userName, password: password,
      will: WillFields(
        topic: span.extracting(will.topic), payload: span.extracting(will.payload), qos: will.qos,
        isRetained: will.isRetained)),
    cleanSession: connect.cleanSession, keepAliveSeconds: connect.keepAliveSeconds)
}

/// The bytes that pairs of hexadecimal digits name; other characters are passed over, `*` repeats the last byte 64
/// times.
private func bytes(ofHex text: [UInt8]) -> [UInt8] {
  var bytes: [UInt8] = []
  var high: UInt8?
  for character in text.prefix(4000) {
    if character == UInt8(ascii: "*") {
      bytes += [UInt8](repeating: bytes.last ?? 0, count: 64)
      continue
    }
    guard let digit = Character(Unicode.Scalar(character)).hexDigitValue else { continue }
    if let upper = high {
      bytes.append(upper << 4 | UInt8(digit))
      high = nil
    } else {
      high = UInt8(digit)
    }
  }
  return bytes
}
