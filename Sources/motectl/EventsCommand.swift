// `motectl events`: what devices send, as a live table or as lines.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Shows the events of devices as they come.",
    usage: "motectl events [--type T] [--id D] [--event E] [--json] [--for TIME] [--count N]",
    discussion: """
      A live table in a terminal, one row for each event of each device; lines in a pipe, or with --lines: time, \
      device type, device, event, format, payload. Runs until Ctrl-C.

      Examples:
        motectl events --type edge
        motectl events --event status --json | jq .payload.d
        motectl events --organization quickstart --type mote --id mote-b47573bd

      \(ConnectionOptions.explanation)

      \(CommandStatus.explanation)
      """)

  @Option(help: "Only devices of this type.") var type: String?
  @Option(help: "Only this device.") var id: String?
  @Option(help: "Only this event.") var event: String?
  @OptionGroup var output: OutputOptions
  @Flag(help: "Write lines in a terminal as well.") var lines = false
  @Option(name: .customLong("for"), help: ArgumentHelp("End after this time.", valueName: "time"))
  var duration: TimeLimit?
  @Option(help: ArgumentHelp("End after so many events.", valueName: "n")) var count: Int?
  @OptionGroup(title: "Platform") var connection: ConnectionOptions

  func validate() throws {
    for (name, text) in [("--type", type), ("--id", id), ("--event", event)] {
      if let text { try checkName(name, text) }
    }
    if let count, count < 1 { throw ValidationError("--count wants 1 or more.") }
  }

  func run() async throws {
    try await operate(isEndless: true) {
      let settings = try connection.settings()
      if settings.isQuickstart, type == nil || id == nil {
        throw ClientError(
          .configuration, "quickstart", "shows one device at a time; expected --type and --id as well")
      }
      let viewer = EventViewer(style: output.json ? .json : lines || !isTerminal() ? .lines : .table, countMax: count)
      try await limited(duration) {
        try await viewer.show([.events(type: type, device: id, event: event)], settings)
      }
    }
  }
}

/// Ends `body` after `duration`; nil means never.
func limited(_ duration: TimeLimit?, _ body: @escaping @Sendable () async throws -> Void) async throws {
  guard let duration else { return try await body() }
  try await withThrowingTaskGroup(of: Void.self) { tasks in
    tasks.addTask(operation: body)
    tasks.addTask { try? await Task.sleep(for: .seconds(duration.seconds)) }
    try await tasks.next()
    tasks.cancelAll()
    try await tasks.waitForAll()
  }
}

/// Shows events in one of three styles.
private actor EventViewer {
  enum Style { case table, lines, json }

  /// Enough has been seen.
  private struct Enough: Error {}

  /// How often a table is drawn, at most.
  private static let drawInterval = Duration.milliseconds(200)

  private let style: Style
  private let countMax: Int?
  private var count = 0
  private var events = EventTable()
  private var region = LiveRegion()
  private var note = "connecting"

  init(style: Style, countMax: Int?) {
    self.style = style
    self.countMax = countMax
  }

  func show(_ filters: [ApplicationFilter], _ settings: ApplicationSettings) async throws {
    do {
      try await withThrowingTaskGroup(of: Void.self) { tasks in
        if style == .table { tasks.addTask { try await self.drawRepeatedly() } }
        tasks.addTask { try await watch(filters, settings) { try await self.handle($0, settings) } }
        try await tasks.next()
        tasks.cancelAll()
        try await tasks.waitForAll()
      }
    } catch is Enough {
    } catch is CancellationError {
    }
    if style == .table { try draw() }
  }

  private func drawRepeatedly() async throws {
    while !Task.isCancelled {
      try draw()
      try await Task.sleep(for: EventViewer.drawInterval)
    }
  }

  private func draw() throws {
    let size = terminalSize()
    try region.draw(events.lines(note, width: size.width, height: size.height - 1, now: Date()))
  }

  private func handle(_ event: WatchEvent, _ settings: ApplicationSettings) throws {
    switch event {
    case .connected: note = "\(settings.broker)"
    case .lost(let error, let seconds):
      note = "\(error); trying again in \(Int(seconds.rounded(.up))) s"
      if style != .table { complain(note) }
    case .missed(let count):
      if style != .table { complain("\(count) events were lost: the reader is too slow") }
    case .message(let message):
      guard case .event(let device, let name, let format) = message.subject else { return }
      switch style {
      case .table: events.add(device, name, message, at: Date())
      case .lines:
        let what = [timestamp(), device.typeID, device.deviceID, name, format].map(printable).joined(separator: " ")
        try emit("\(what) \(message.isTruncated ? "(too large)" : payloadText(message.payload))")
      case .json:
        try emit(
          .object([
            .init("time", .string(timestamp())), .init("typeId", .string(device.typeID)),
            .init("deviceId", .string(device.deviceID)), .init("event", .string(name)),
            .init("format", .string(format)), payloadMember(message.payload),
          ]))
      }
      count += 1
      if count == countMax { throw Enough() }
    }
  }
}

/// The last event of each kind of each device, in the order in which they first came.
struct EventTable {
  /// Rows that are kept; the one that has been silent longest goes first.
  static let rowsMax = 10_000

  private struct Key: Hashable {
    let device: DeviceKey
    let event: String
  }

  private struct Row {
    let number: Int
    var count = 0
    var time: Date
    var values = ""
  }

  private var rows: [Key: Row] = [:]
  private var rowsMade = 0

  /// Takes over an event.
  mutating func add(_ device: DeviceKey, _ event: String, _ message: ApplicationMessage, at time: Date) {
    let key = Key(device: device, event: event)
    if rows[key] == nil {
      if rows.count >= EventTable.rowsMax, let oldest = rows.min(by: { $0.value.time < $1.value.time }) {
        rows[oldest.key] = nil
      }
      rows[key] = Row(number: rowsMade, time: time)
      rowsMade += 1
    }
    rows[key]?.count += 1
    rows[key]?.time = time
    rows[key]?.values = message.isTruncated ? "(too large)" : summary(message)
  }

  /// The table, and a line about the connection, for a terminal of this size. Where not all rows fit, the latest do.
  func lines(_ note: String, width: Int, height: Int, now: Date) -> [String] {
    let room = max(1, height - 2)
    let shown = rows.sorted { $0.value.time > $1.value.time }.prefix(room).sorted { $0.value.number < $1.value.number }
    let cells = shown.map { key, row in
      [
        printable(key.device.typeID), printable(key.device.deviceID), printable(key.event), "\(row.count)",
        age(now.timeIntervalSince(row.time)), row.values,
      ]
    }
    let hidden = rows.count - shown.count
    let state = printable(note) + (hidden > 0 ? ", \(hidden) more" : "")
    return table(["TYPE", "ID", "EVENT", "COUNT", "AGE", "VALUES"], cells, width: width) + [cut(state, to: width)]
  }
}

/// The members of `d`, or whatever the payload is.
private func summary(_ message: ApplicationMessage) -> String {
  let json = message.json
  guard let members = (json?["d"] ?? json)?.members else { return payloadText(message.payload) }
  return members.map { member in
    "\(printable(member.name))=\(member.value.string.map(word) ?? safeJSON(member.value))"
  }.joined(separator: " ")
}

/// A length of time in its largest unit.
func age(_ seconds: Double) -> String {
  switch max(0, seconds) {
  case let seconds where seconds < 60: "\(Int(seconds))s"
  case let seconds where seconds < 3600: "\(Int(seconds / 60))m"
  case let seconds where seconds < 86_400: "\(Int(seconds / 3600))h"
  case let seconds: "\(Int(seconds / 86_400))d"
  }
}
