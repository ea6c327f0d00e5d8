// publisher FD QOS COUNT: the MQTT client alone, without the agent around it. Publishes COUNT times the same 96 bytes
// over the connected socket FD, with at most ten messages unconfirmed, and ends. Scripts/bench counts its
// instructions.

import Bytes
import CLinux
import MQTT

// No topic of an event: the bench counts those of agents.
private let topic: StaticString = "iot-2/out/status/fmt/json"
private let payload: StaticString = """
  {"d":{"temperature":21.75,"humidity":48.2,"pressure":1013.2500},"ts":"2024-05-01T10:15:30.250Z"}
  """

/// Where the C library enters, under the name that the package manager gives to a program's `main`.
@c(publisher_main)
func main(_ count: Int32, _ words: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Int32 {
  guard count == 4, let socket = number(words[1]), let qos = number(words[2]), let messages = number(words[3]),
    let quality = QoS(rawValue: UInt8(truncatingIfNeeded: qos))
  else { return 64 }
  let byteCount = 64 * 1024
  let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 16)
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  var arena = Arena(Region(start: memory, count: byteCount))
  let options = ClientOptions(keepAlive: .zero, cleanSession: true)
  guard var client = try? Client(options: options, packetBytesMax: 8192, from: &arena) else { return 71 }
  do throws(Failed) {
    try run(&client, socket: Int32(truncatingIfNeeded: socket), quality, messages)
    return 0
  } catch {
    return 70
  }
}

/// Why it ended early.
struct Failed: Error {}

/// The clock plays no part: no time-out is wanted here.
private let now = Instant(milliseconds: 0)

private func run(_ client: inout Client, socket: Int32, _ qos: QoS, _ messages: Int) throws(Failed) {
  // Several of us run at a time: the broker is to think of a name.
  let name: StaticString = ""
  do { try client.open(ConnectFields(clientID: name.bytes), now: now) } catch { throw Failed() }
  try flush(&client, to: socket)
  while !client.isConnected { try receive(&client, from: socket) }
  for _ in 0..<messages {
    // With ten messages unconfirmed, by default, none is taken: only then is the broker waited for.
    while !publish(&client, qos) { try receive(&client, from: socket) }
    try flush(&client, to: socket)
  }
  while client.inflightCount > 0 { try receive(&client, from: socket) }
  client.disconnect(now: now)
  try flush(&client, to: socket)
}

private func publish(_ client: inout Client, _ qos: QoS) -> Bool {
  do throws(PublishRefusal) {
    try client.publish(topic: topic.bytes, payload: payload.bytes, qos: qos, now: now)
    return true
  } catch {
    return false
  }
}

/// Writes what is in the output; one call, as the socket blocks.
private func flush(_ client: inout Client, to socket: Int32) throws(Failed) {
  while !client.output.isEmpty {
    let written = write(client.output.span, to: socket)
    guard written > 0 else { throw Failed() }
    client.removeSent(written, now: now)
  }
}

/// Waits for something, and handles all that is there.
private func receive(_ client: inout Client, from socket: Int32) throws(Failed) {
  guard read(from: socket, into: &client.input) > 0 else { throw Failed() }
  do { while try client.nextEvent(now: now) != nil {} } catch { throw Failed() }
  try flush(&client, to: socket)
}
