// `motectl events`: what devices send, as a live table or as lines.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct EventsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "events", abstract: "Shows the events of devices as they come.",
    usage: "motectl events [--type T] [--id D] [--event E] [--filter TEXT] [--json] [--for TIME] [--count N]",
    discussion: """
      A live table in a terminal, one row for each event of each device, sorted; lines in a pipe, or with --lines: \
      time, device type, device, event, format, payload. Runs until Ctrl-C.

      Keys in the table: blank and b turn the page, s sorts by name or by age, / begins a filter.

      Examples:
        motectl events --type edge
        motectl events --event status --json | jq .payload.d
        motectl events --organization quickstart --type mote --id mote-b47573bd

      \(OptionsTopic.pointer)
      """)

  @Option(help: "Only devices of this type.") var type: String?
  @Option(help: "Only this device.") var id: String?
  @Option(help: "Only this event.") var event: String?
  @Option(help: ArgumentHelp("Only rows or lines with this text in them, in upper or lower case.", valueName: "text"))
  var filter = ""
  @Option(help: "How the table is sorted: name or age.") var sort = EventTable.Sorting.name
  @OptionGroup var output: OutputOptions
  @Flag(help: "Write lines in a terminal as well.") var lines = false
  @Option(name: .customLong("for"), help: ArgumentHelp("End after this time.", valueName: "time"))
  var duration: TimeLimit?
  @Option(help: ArgumentHelp("End after so many events.", valueName: "n")) var count: Int?
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

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
      let style: EventViewer.Style = output.json ? .json : lines || !isTerminal() ? .lines : .table
      let viewer = EventViewer(style: style, table: EventTable(sorting: sort, filter: filter), countMax: count)
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
  private var events: EventTable
  private var region = LiveRegion()
  private var note = "connecting"
  private let keys: TerminalKeys?

  init(style: Style, table: EventTable, countMax: Int?) {
    self.style = style
    self.countMax = countMax
    events = table
    keys = style == .table ? TerminalKeys() : nil
    events.hasKeys = keys != nil
  }

  func show(_ filters: [ApplicationFilter], _ settings: ApplicationSettings) async throws {
    // Not what the command waits for: keys may end before the events do.
    let taking = keys.map { keys in
      Task { for await key in keys.pressed { try self.take(key) } }
    }
    defer { taking?.cancel() }
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

  private func take(_ key: UInt8) throws {
    if events.take(key) { try draw() }
  }

  private func draw() throws {
    keys?.claim()
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
      guard style == .table || events.shows(device, name, message) else { return }
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
