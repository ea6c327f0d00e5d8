// Keeps the books: what the agent made, what the broker got, what was asked of the agent and what it did.

import Bytes
import Foundation

/// One event as the scenario configured it.
public struct EventSpec: Sendable {
  /// Its identifier in the topic.
  public var name: String
  /// The time between two of them.
  public var interval: TimeSpan
  /// 0...2.
  public var qos: UInt8
  /// Besides the counter, which every event has.
  public var sensors: [SensorBehaviour]

  /// An event with a counter and more sensors.
  public init(_ name: String, every interval: TimeSpan, qos: UInt8, sensors: [SensorBehaviour] = []) {
    self.name = name
    self.interval = interval
    self.qos = qos
    self.sensors = sensors
  }
}

/// What became of commands that the operator sent, all with the same payload.
struct CommandRecord {
  let name: String
  /// How often they were sent.
  var sent = 0
  /// How many programs were started for them.
  var runs = 0
}

/// Where one counter value has got to.
private struct Arrival {
  var epoch: Int
  var count: Int
}

/// The books.
final class Ledger: BrokerObserver {
  private let world: World
  private let machine: Machine
  let events: [EventSpec]
  /// The source index of each event's counter.
  let counters: [Int]
  private var arrivals: [[Int: Arrival]]
  private var highest: [Int]
  /// The highest quality of service that the broker knows.
  var qosMax: UInt8 = 2
  /// How long after its reading an event may reach the broker; nil while faults are about.
  var latencyMax: TimeSpan?
  private var commands: [[UInt8]: CommandRecord] = [:]
  /// Commands of QoS 1 and 2 that the client has acknowledged.
  private(set) var deliveredCount = 0
  private(set) var outcomes = 0
  private var programsSeen = 0
  private var messagesSeen = 0

  init(world: World, machine: Machine, events: [EventSpec], counters: [Int]) {
    self.world = world
    self.machine = machine
    self.events = events
    self.counters = counters
    arrivals = events.map { _ in [:] }
    highest = events.map { _ in 0 }
  }

  // MARK: Events

  func brokerAccepted(_ message: PublishPacket, epoch: Int, at time: Instant) {
    let topic = String(decoding: message.topic, as: UTF8.self)
    let levels = topic.split(separator: "/", omittingEmptySubsequences: false)
    guard levels.count == 5, levels[0] == "iot-2", levels[1] == "evt", levels[3] == "fmt", levels[4] == "json" else {
      return world.violate("an event on topic \(topic)")
    }
    messagesSeen += 1
    // Parsing every payload in full would take most of a run's time.
    if messagesSeen % 16 == 1 || levels[2] == "command" { checkJSON(message.payload) }
    if levels[2] == "command" { return checkOutcome(message) }
    if levels[2] == "queue" {
      world.mark("gap-told")
      return checkJSON(message.payload)
    }
    guard let index = events.firstIndex(where: { $0.name == levels[2] }) else {
      return world.violate("an event on topic \(topic)")
    }
    noteArrival(index, message, epoch, time)
  }

  private func noteArrival(_ index: Int, _ message: PublishPacket, _ epoch: Int, _ time: Instant) {
    let event = events[index]
    let qos = min(event.qos, qosMax)
    if message.qos != qos { return world.violate("event \(event.name) came with QoS \(message.qos)") }
    guard let value = number(behind: "\"n\(index)\":", in: message.payload) else {
      return world.violate("event \(event.name) without its counter")
    }
    let readings = machine.counterReadings[counters[index]]
    guard value >= 1, value <= readings.count else { return world.violate("\(event.name) \(value) was never read") }
    let reading = readings[value - 1]
    checkTimeStamp(message.payload, readAt: reading.time, event)

    if var known = arrivals[index][value] {
      world.mark("event-twice")
      if event.qos == 0 { world.violate("\(event.name) \(value) came twice with QoS 0") }
      if qos == 2, known.epoch == epoch { world.violate("\(event.name) \(value) came twice with QoS 2") }
      if qos == 1, known.epoch == epoch, !message.isDuplicate {
        world.violate("3.3.1-1: \(event.name) \(value) came twice in a session without DUP")
      }
      known.count += 1
      known.epoch = epoch
      arrivals[index][value] = known
      return
    }
    arrivals[index][value] = Arrival(epoch: epoch, count: 1)
    if value < highest[index] {
      world.violate("4.6.0-6: \(event.name) \(value) first came after \(highest[index])")
    }
    highest[index] = value
    if let latencyMax, time - reading.time > latencyMax {
      world.violate("\(event.name) \(value) took \((time - reading.time).milliseconds) ms in calm weather")
    }
  }

  private func checkTimeStamp(_ payload: [UInt8], readAt: Instant, _ event: EventSpec) {
    var stamp: WallTime?
    if let range = payload.firstRange(of: Array("\"ts\":\"".utf8)) {
      let text = String(decoding: payload[range.upperBound...].prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self)
      guard let parsed = parseTimeStamp(text) else { return world.violate("time stamp \(text)") }
      stamp = parsed
    }
    var index = firstWallReading(from: readAt)
    while index < machine.wallReadings.count, machine.wallReadings[index].time == readAt {
      if machine.wallReadings[index].wall == stamp { return }
      index += 1
    }
    world.violate("time stamp of \(event.name) does not fit the time of its reading")
  }

  private func firstWallReading(from time: Instant) -> Int {
    var lower = 0
    var upper = machine.wallReadings.count
    while lower < upper {
      let middle = (lower + upper) / 2
      if machine.wallReadings[middle].time < time { lower = middle + 1 } else { upper = middle }
    }
    return lower
  }

  private func number(behind name: String, in payload: [UInt8]) -> Int? {
    guard let range = payload.firstRange(of: Array(name.utf8)) else { return nil }
    return Int(String(decoding: payload[range.upperBound...].prefix { $0.isDigit }, as: UTF8.self))
  }

  private func checkJSON(_ payload: [UInt8]) {
    guard let object = try? JSONSerialization.jsonObject(with: Data(payload)) as? [String: Any],
      object["d"] is [String: Any]
    else { return world.violate("payload \(String(decoding: payload, as: UTF8.self))") }
  }

  /// How many values of event `index` have arrived.
  func arrivedCount(_ index: Int) -> Int { arrivals[index].count }

  /// The values of event `index` that have not arrived, among those read up to now.
  func missing(_ index: Int) -> [Int] {
    let count = machine.counterReadings[counters[index]].count
    return count == 0 ? [] : (1...count).filter { arrivals[index][$0] == nil }
  }

  /// When the values of event `index` were read.
  func readTimes(_ index: Int) -> [Instant] { machine.counterReadings[counters[index]].map(\.time) }

  // MARK: Commands

  func noteCommand(_ payload: [UInt8], name: String, qos: UInt8) {
    commands[payload, default: CommandRecord(name: name)].sent += 1
  }

  func brokerDelivered(_ payload: [UInt8]) { deliveredCount += 1 }
  func brokerLost(_ payload: [UInt8]) {}

  /// Looks at the programs that were started since the last call.
  func checkPrograms() {
    while programsSeen < machine.programs.count {
      let program = machine.programs[programsSeen]
      programsSeen += 1
      guard var record = commands[program.input] else {
        world.violate("a program was started that nobody asked for")
        continue
      }
      record.runs += 1
      commands[program.input] = record
      if record.runs > record.sent {
        world.violate("a \(record.name) command that was sent \(record.sent) times was run \(record.runs) times")
      }
    }
  }

  private func checkOutcome(_ message: PublishPacket) {
    outcomes += 1
    if message.qos != 1 { world.violate("an outcome came with QoS \(message.qos)") }
    let object = try? JSONSerialization.jsonObject(with: Data(message.payload)) as? [String: Any]
    let data = object?["d"] as? [String: Any]
    guard let outcome = data?["outcome"] as? String, data?["command"] is String else {
      return world.violate("outcome \(String(decoding: message.payload, as: UTF8.self))")
    }
    world.mark("outcome-\(outcome)")
    guard let output = data?["output"] as? String, let program = program(echoing: output) else { return }
    if outcome != "ok", program.politeStop == nil { world.violate("outcome \(outcome) of a program that ended well") }
  }

  private func program(echoing output: String) -> SimulatedProgram? {
    let bytes = Array(output.utf8)
    return machine.programs.last { $0.input == bytes && $0.behaviour == .echo }
  }
}

/// Reads `2024-05-01T10:15:30.250Z`.
private func parseTimeStamp(_ text: String) -> WallTime? {
  let fields = text.split { !$0.isNumber }.compactMap { Int64($0) }
  guard text.utf8.count == 24, text.hasSuffix("Z"), fields.count == 7 else { return nil }
  // Days from the civil date; years are counted from March, so that a leap day comes last.
  let year = fields[1] <= 2 ? fields[0] - 1 : fields[0]
  let month = (fields[1] + 9) % 12
  let days = 365 * year + year / 4 - year / 100 + year / 400 + (month * 306 + 5) / 10 + fields[2] - 1 - 719_468
  let inDay = ((fields[3] * 60 + fields[4]) * 60 + fields[5]) * 1000 + fields[6]
  return WallTime(milliseconds: days * 86_400_000 + inDay)
}
