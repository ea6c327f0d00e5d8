// What happens, as it happens: server-sent events (HTML Living Standard, section 9.2) for the page.

import Bytes
import Foundation
import Hummingbird
import NIOCore
import PlatformProtocol
import PlatformServer
import PlatformService

/// Bounds of the live streams.
enum LiveLimits {
  /// How often a list of devices tells what changed.
  static let listInterval = Duration.milliseconds(500)
  /// How often a stream says that it is there, so that both sides notice when it is not.
  static let silenceMax = Duration.seconds(15)
  /// Signals that wait for a slow reader; the oldest goes first.
  static let signalsMax = 64
  /// The same of a list of devices, whose signals have no payloads.
  static let listSignalsMax = 1000
}

/// Writes one stream's messages.
protocol LiveStream: Sendable {
  /// What the stream is about.
  var filter: ObservationFilter { get }
  /// How often `tick` is called.
  var tickInterval: Duration { get }
  /// The messages at the beginning.
  mutating func start() async -> [JSONValue]
  /// The messages that something brings at once.
  mutating func receive(_ observation: Observation) -> [JSONValue]
  /// The messages that were collected.
  mutating func tick() async -> [JSONValue]
}

extension Interface {
  func addLiveStreams(to table: RouteTable) {
    table.on(.get, "/live/quickstart") { _, context in
      try await stream(DeviceListStream(platform: platform, organization: "quickstart"), context, context.address)
    }
    table.on(.get, "/live/quickstart/devices/:device") { _, context in
      let id = try context.name("device")
      return try await stream(
        DeviceStream(platform: platform, organization: "quickstart", typeID: nil, deviceID: id), context,
        context.address)
    }
    table.on(.get, "/live/fleet") { request, context in
      let key = try await application(request, context)
      return try await stream(
        DeviceListStream(platform: platform, organization: platform.organizationName), context, key)
    }
    table.on(.get, "/live/fleet/types/:type/devices/:device") { request, context in
      let key = try await application(request, context)
      let device = try context.device()
      return try await stream(
        DeviceStream(
          platform: platform, organization: platform.organizationName, typeID: device.typeID,
          deviceID: device.deviceID), context, key)
    }
  }

  private enum Signal: Sendable {
    case observation(Observation)
    case tick
  }

  /// Answers with a stream that lasts until the reader goes. `client` is whoever may have only so many of them.
  private func stream(
    _ stream: some LiveStream, _ context: PlatformContext, _ client: String
  ) async throws -> Response {
    // Observed first, asked then: nothing falls between the two.
    var filter = stream.filter
    filter.client = client
    let observations = try await platform.observe(filter)
    let departure = context.departure()
    let body = ResponseBody { writer in
      var stream = stream
      let (signals, continuation) = AsyncStream.makeStream(
        of: Signal.self,
        bufferingPolicy: .bufferingNewest(
          stream.filter.includesPayloads ? LiveLimits.signalsMax : LiveLimits.listSignalsMax))
      let pump = Task {
        for await observation in observations { continuation.yield(.observation(observation)) }
        continuation.finish()
      }
      let interval = stream.tickInterval
      let clock = Task {
        while !Task.isCancelled {
          try await Task.sleep(for: interval)
          continuation.yield(.tick)
        }
      }
      let watch = Task {
        await departure.wait()
        continuation.finish()
      }
      defer {
        pump.cancel()
        clock.cancel()
        watch.cancel()
      }
      var lastWrite = ContinuousClock.now
      try await writer.write(ByteBuffer(string: "retry: 2000\n\n"))
      try await writer.write(messages(await stream.start()))
      for await signal in signals {
        let values: [JSONValue]
        switch signal {
        case .observation(let observation): values = stream.receive(observation)
        case .tick: values = await stream.tick()
        }
        let now = ContinuousClock.now
        if !values.isEmpty {
          try await writer.write(messages(values))
          lastWrite = now
        } else if now - lastWrite > LiveLimits.silenceMax {
          try await writer.write(ByteBuffer(string: ":\n\n"))
          lastWrite = now
        }
      }
      try await writer.finish(nil)
    }
    return Response(status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"], body: body)
  }

  private func messages(_ values: [JSONValue]) -> ByteBuffer {
    var bytes: [UInt8] = []
    for value in values {
      bytes.append(contentsOf: "data: ".utf8)
      value.write(into: &bytes)
      bytes.append(contentsOf: "\n\n".utf8)
    }
    return ByteBuffer(bytes: bytes)
  }
}

/// All devices of an organisation: a list first, then what changed, twice a second at most.
struct DeviceListStream: LiveStream {
  let platform: ServiceActor
  let organization: String
  private var changed: Set<DeviceKey> = []
  private var removed: Set<DeviceKey> = []

  init(platform: ServiceActor, organization: String) {
    self.platform = platform
    self.organization = organization
  }

  var filter: ObservationFilter {
    var filter = ObservationFilter(organization: organization)
    filter.includesPayloads = false
    return filter
  }
  var tickInterval: Duration { LiveLimits.listInterval }
  private var isQuickstart: Bool { organization == "quickstart" }

  func start() async -> [JSONValue] {
    let devices = await platform.overview(inQuickstart: isQuickstart)
    return [
      .members([
        "kind": .string("devices"), "now": .integer(Moment.now.wall.milliseconds),
        "devices": .array(devices.map(describe)),
      ])
    ]
  }

  mutating func receive(_ observation: Observation) -> [JSONValue] {
    switch observation {
    case .event(let message): changed.insert(message.device)
    case .monitoring(let message):
      if let key = message.device { changed.insert(key) }
    case .deviceChanged(let key): changed.insert(key)
    case .deviceRemoved(let key): removed.insert(key)
    case .command, .requestChanged: break
    }
    return []
  }

  mutating func tick() async -> [JSONValue] {
    guard !changed.isEmpty || !removed.isEmpty else { return [] }
    let devices = await platform.overview(inQuickstart: isQuickstart, of: changed)
    let gone = removed.subtracting(devices.map(\.record.key))
    changed.removeAll()
    removed.removeAll()
    return [
      .members([
        "kind": .string("changes"), "now": .integer(Moment.now.wall.milliseconds),
        "devices": .array(devices.map(describe)),
        "removed": .array(gone.map { .members(["type": .string($0.typeID), "id": .string($0.deviceID)]) }),
      ])
    ]
  }

  private func describe(_ device: DeviceOverview) -> JSONValue {
    let record = device.record
    return .members([
      "type": .string(record.typeID), "id": .string(record.deviceID),
      "connected": .boolean(record.connection?.isConnected ?? false),
      "lastEvent": device.lastEventTime.map { .integer($0) }, "lastSeen": device.lastSeen.map { .integer($0) },
      "gateway": record.classID == .gateway ? .boolean(true) : nil,
      "managed": record.management != nil ? .boolean(true) : nil,
      "firmware": record.deviceInfo.fwVersion.map(JSONValue.string), "location": record.location?.json,
      "place": record.deviceInfo.descriptiveLocation.map(JSONValue.string),
    ])
  }
}

/// One device: its state and last events first, then everything.
struct DeviceStream: LiveStream {
  let platform: ServiceActor
  let organization: String
  /// nil for a device of any type.
  let typeID: String?
  let deviceID: String

  var filter: ObservationFilter {
    ObservationFilter(
      organization: organization, typeID: typeID, deviceID: deviceID, includesCommands: organization != "quickstart")
  }
  var tickInterval: Duration { LiveLimits.silenceMax }
  private var isQuickstart: Bool { organization == "quickstart" }

  func start() async -> [JSONValue] {
    let devices = await platform.read { [isQuickstart, typeID] in $0.devices(inQuickstart: isQuickstart, typeID: typeID)
    }
    .filter { $0.deviceID == deviceID }
    var values: [JSONValue] = [
      .members([
        "kind": .string("state"), "now": .integer(Moment.now.wall.milliseconds), "known": .boolean(!devices.isEmpty),
        "connected": .boolean(devices.contains { $0.connection?.isConnected == true }),
      ])
    ]
    for device in devices {
      let events =
        (try? await platform.read { [isQuickstart] in try $0.lastEvents(device.key, inQuickstart: isQuickstart) }) ?? []
      values += events.sorted { $0.time < $1.time }.map {
        describe(
          "event", device.key, $0.eventID, $0.format, $0.payload, size: $0.payload.count, time: $0.time)
      }
    }
    return values
  }

  func receive(_ observation: Observation) -> [JSONValue] {
    switch observation {
    case .event(let message): [describe("event", message)]
    case .command(let message): [describe("command", message)]
    case .monitoring(let message):
      [
        .members([
          "kind": .string("connection"), "action": .string(message.action.rawValue),
          "time": .integer(message.time.milliseconds), "closeCode": message.closeCode.map { .integer($0.rawValue) },
          "reason": message.closeCode.map { .string($0.reason) },
        ])
      ]
    case .deviceChanged: [.members(["kind": .string("changed")])]
    case .deviceRemoved: [.members(["kind": .string("removed")])]
    case .requestChanged(let id): [.members(["kind": .string("request"), "request": .string(id)])]
    }
  }

  func tick() async -> [JSONValue] { [] }

  private func describe(_ kind: String, _ message: ObservedMessage) -> JSONValue {
    describe(
      kind, message.device, message.name, message.format, message.isPayloadLeftOut ? nil : message.payload,
      size: message.payloadSize, time: message.time.milliseconds)
  }

  private func describe(
    _ kind: String, _ key: DeviceKey, _ name: String, _ format: String, _ payload: [UInt8]?, size: Int, time: Int64
  ) -> JSONValue {
    .members([
      "kind": .string(kind), "type": .string(key.typeID), "id": .string(key.deviceID), kind: .string(name),
      "format": .string(format), "time": .integer(time),
      // What is too long or not text is not shown.
      "payload": payload.flatMap { String(validating: $0, as: UTF8.self) }.map(JSONValue.string),
      "size": .integer(size), "tooLong": payload == nil ? .boolean(true) : nil,
    ])
  }
}

extension PlatformContext {
  /// A part of the path, without its percent signs.
  ///
  /// - Throws: `invalid` for one that is no name.
  func name(_ parameter: String) throws(ServiceError) -> String {
    guard let name = parameters.get(parameter)?.removingPercentEncoding, isValidName(name) else {
      throw ServiceError(.invalid, "'\(parameter)' in the path is 1 to 36 letters, digits, '-', '_' and '.'.")
    }
    return name
  }

  /// The bundle that the path names.
  func bundle() throws(ServiceError) -> String {
    guard let name = parameters.get("bundle")?.removingPercentEncoding, CustomParameter.isValidName(name) else {
      let max = ServiceLimits.bundleNameBytesMax
      throw ServiceError(.invalid, "'bundle' in the path is 1 to \(max) letters, digits, '-', '_' and '.'.")
    }
    return name
  }
}
