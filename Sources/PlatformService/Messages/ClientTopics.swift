// What each class of client may publish and subscribe to.

import Bytes
import IoTPlatform
import MQTT
import PlatformProtocol

/// The levels of a topic or filter. More than the longest legal topic has are not told apart: such a topic is illegal.
struct Levels {
  static let countMax = 10
  let count: Int
  private let ranges: InlineArray<10, Range<Int>>

  init?(_ topic: Span<UInt8>) {
    // Swift 6.3.1 loses a count that is a member from the beginning when it optimises this.
    var found = InlineArray<10, Range<Int>>(repeating: 0..<0)
    var foundCount = 0
    var start = 0
    while foundCount < Levels.countMax {
      let end = topic.firstIndex(of: UInt8(ascii: "/"), from: start) ?? topic.count
      found[foundCount] = start..<end
      foundCount += 1
      if end == topic.count { break }
      start = end + 1
    }
    guard foundCount > 0, found[foundCount - 1].upperBound == topic.count else { return nil }
    count = foundCount
    ranges = found
  }

  subscript(index: Int) -> Range<Int> { ranges[index] }

  func level(_ index: Int, of topic: Span<UInt8>, is literal: StaticString) -> Bool {
    index < count && topic.extracting(ranges[index]).equals(literal)
  }
}

/// What a topic is about.
enum TopicKind: UInt8, Hashable {
  case event, command, deviceMonitoring, applicationMonitoring, gatewayNotification, management
}

/// A topic that a client published to, as ranges of its bytes.
struct PublishedTopic {
  let kind: TopicKind
  /// Type and device, where the topic names them.
  let device: (type: Range<Int>, id: Range<Int>)?
  /// The event or command; for device management everything behind the levels that name the device.
  let name: Range<Int>
  /// The format, of events and commands.
  let format: Range<Int>
  /// `evt/NAME/fmt/FORMAT`: what the short and the long form have in common.
  let tail: Range<Int>

  /// Takes apart what a device publishes to; nil for what it may not.
  static func ofDevice(_ topic: Span<UInt8>) -> PublishedTopic? {
    guard let levels = Levels(topic) else { return nil }
    if levels.level(0, of: topic, is: "iotdevice-1") { return management(topic, levels, from: 1, device: nil) }
    guard levels.level(0, of: topic, is: "iot-2") else { return nil }
    return message(topic, levels, from: 1, device: nil, mayCommand: false)
  }

  /// Takes apart what a gateway publishes to; nil for what it may not.
  static func ofGateway(_ topic: Span<UInt8>) -> PublishedTopic? {
    guard let levels = Levels(topic), let device = deviceLevels(topic, levels) else { return nil }
    if levels.level(0, of: topic, is: "iotdevice-1") { return management(topic, levels, from: 5, device: device) }
    guard levels.level(0, of: topic, is: "iot-2") else { return nil }
    return message(topic, levels, from: 5, device: device, mayCommand: false)
  }

  /// Takes apart what an application publishes to; nil for what it may not.
  static func ofApplication(_ topic: Span<UInt8>) -> PublishedTopic? {
    guard let levels = Levels(topic), levels.level(0, of: topic, is: "iot-2"),
      let device = deviceLevels(topic, levels)
    else { return nil }
    return message(topic, levels, from: 5, device: device, mayCommand: true)
  }

  private static func message(
    _ topic: Span<UInt8>, _ levels: borrowing Levels, from first: Int, device: (type: Range<Int>, id: Range<Int>)?,
    mayCommand: Bool
  ) -> PublishedTopic? {
    guard levels.count == first + 4, levels.level(first + 2, of: topic, is: "fmt"), !levels[first + 1].isEmpty,
      !levels[first + 3].isEmpty
    else { return nil }
    let kind: TopicKind
    if levels.level(first, of: topic, is: "evt") {
      kind = .event
    } else if mayCommand, levels.level(first, of: topic, is: "cmd") {
      kind = .command
    } else {
      return nil
    }
    return PublishedTopic(
      kind: kind, device: device, name: levels[first + 1], format: levels[first + 3],
      tail: levels[first].lowerBound..<topic.count)
  }

  private static func management(
    _ topic: Span<UInt8>, _ levels: borrowing Levels, from first: Int, device: (type: Range<Int>, id: Range<Int>)?
  ) -> PublishedTopic? {
    guard levels.count > first else { return nil }
    let rest = levels[first].lowerBound..<topic.count
    return PublishedTopic(kind: .management, device: device, name: rest, format: rest, tail: rest)
  }

  /// `…/type/T/id/D/…`, as ranges of T and D; nil where a topic has no such levels, or no valid names there.
  private static func deviceLevels(
    _ topic: Span<UInt8>, _ levels: borrowing Levels
  ) -> (type: Range<Int>, id: Range<Int>)? {
    guard levels.count > 5, levels.level(1, of: topic, is: "type"), levels.level(3, of: topic, is: "id"),
      isValidName(topic.extracting(levels[2])), isValidName(topic.extracting(levels[4]))
    else { return nil }
    return (levels[2], levels[4])
  }
}

/// What a client subscribed to; nil in a part stands for `+`.
struct TopicFilter: Hashable {
  let kind: TopicKind
  /// The device type; of applications' monitoring the application.
  var type: String?
  var device: String?
  var name: [UInt8]?
  var format: [UInt8]?
  /// The whole filter, of device management.
  var pattern: [UInt8] = []

  /// Understands what a device subscribes to; nil for what it may not.
  static func ofDevice(_ filter: Span<UInt8>, _ key: DeviceKey) -> TopicFilter? {
    guard let levels = Levels(filter) else { return nil }
    if levels.level(0, of: filter, is: "iotdm-1"), levels.count > 1 {
      return TopicFilter(kind: .management, type: key.typeID, device: key.deviceID, pattern: Array(copying: filter))
    }
    guard levels.level(0, of: filter, is: "iot-2") else { return nil }
    if levels.count == 2 {
      if levels.level(1, of: filter, is: "mon") { return own(.deviceMonitoring, key) }
      return levels.level(1, of: filter, is: "notify") ? own(.gatewayNotification, key) : nil
    }
    guard levels.count == 5, levels.level(1, of: filter, is: "cmd"), levels.level(3, of: filter, is: "fmt"),
      var result = named(own(.command, key), filter, name: levels[2], format: levels[4])
    else { return nil }
    result.type = key.typeID
    return result
  }

  /// Understands what a gateway subscribes to; nil for what it may not.
  static func ofGateway(_ filter: Span<UInt8>, _ key: DeviceKey) -> TopicFilter? {
    guard let levels = Levels(filter) else { return nil }
    if levels.level(0, of: filter, is: "iotdm-1"), levels.count > 1 {
      // The short form stands for all devices of the gateway, as the server of the hosted platform has it.
      guard levels.level(1, of: filter, is: "type") else {
        return TopicFilter(kind: .management, pattern: Array("iotdm-1/type/+/id/+/#".utf8))
      }
      var result = TopicFilter(kind: .management, pattern: Array(copying: filter))
      if levels.count > 4, levels.level(3, of: filter, is: "id"), let type = variable(filter, levels[2]),
        let device = variable(filter, levels[4])
      {
        (result.type, result.device) = (type, device)
      }
      return result
    }
    guard levels.level(0, of: filter, is: "iot-2"), levels.level(1, of: filter, is: "type"),
      levels.level(3, of: filter, is: "id")
    else { return nil }
    if levels.count == 6, levels.level(5, of: filter, is: "notify") {
      let isOwn =
        String(copying: filter.extracting(levels[2])) == key.typeID
        && String(copying: filter.extracting(levels[4])) == key.deviceID
      return isOwn ? own(.gatewayNotification, key) : nil
    }
    return ofLongForm(filter, levels, isApplication: false)
  }

  /// Understands what an application subscribes to; nil for what it may not.
  static func ofApplication(_ filter: Span<UInt8>) -> TopicFilter? {
    guard let levels = Levels(filter), levels.level(0, of: filter, is: "iot-2") else { return nil }
    if levels.count == 4, levels.level(1, of: filter, is: "app"), levels.level(3, of: filter, is: "mon") {
      guard let id = variable(filter, levels[2]) else { return nil }
      return TopicFilter(kind: .applicationMonitoring, type: id, device: nil)
    }
    guard levels.level(1, of: filter, is: "type"), levels.level(3, of: filter, is: "id") else { return nil }
    return ofLongForm(filter, levels, isApplication: true)
  }

  private static func ofLongForm(
    _ filter: Span<UInt8>, _ levels: borrowing Levels, isApplication: Bool
  ) -> TopicFilter? {
    guard levels.count > 5, let type = variable(filter, levels[2]), let device = variable(filter, levels[4]) else {
      return nil
    }
    if levels.count == 6, levels.level(5, of: filter, is: "mon") {
      return TopicFilter(kind: .deviceMonitoring, type: type, device: device)
    }
    guard levels.count == 9, levels.level(7, of: filter, is: "fmt") else { return nil }
    let kind: TopicKind
    if levels.level(5, of: filter, is: "cmd") {
      kind = .command
    } else if isApplication, levels.level(5, of: filter, is: "evt") {
      kind = .event
    } else {
      return nil
    }
    let base = TopicFilter(kind: kind, type: type, device: device)
    return named(base, filter, name: levels[6], format: levels[8])
  }

  private static func own(_ kind: TopicKind, _ key: DeviceKey) -> TopicFilter {
    TopicFilter(kind: kind, type: key.typeID, device: key.deviceID)
  }

  private static func named(
    _ base: TopicFilter, _ filter: Span<UInt8>, name: Range<Int>, format: Range<Int>
  ) -> TopicFilter? {
    var result = base
    for (range, path) in [(name, \TopicFilter.name), (format, \TopicFilter.format)] {
      let text = filter.extracting(range)
      if text.isEmpty || text.equals("#") { return nil }
      if !text.equals("+") { result[keyPath: path] = Array(copying: text) }
    }
    return result
  }

  /// One level: `.some(nil)` for `+`, nil for what can be no name.
  private static func variable(_ filter: Span<UInt8>, _ range: Range<Int>) -> String?? {
    let text = filter.extracting(range)
    if text.equals("+") { return .some(nil) }
    return isValidName(text) ? .some(String(copying: text)) : nil
  }

  /// Whether every part but the event's or command's name and format is literal, as Quickstart wants it.
  var isLiteral: Bool { type != nil && (kind == .applicationMonitoring || device != nil) }

  /// Whether the event or command `name` in `format` is meant; type and device are the routes' business.
  func matches(name: Span<UInt8>, format: Span<UInt8>) -> Bool {
    if let own = self.name, !own.span.equals(name) { return false }
    if let own = self.format, !own.span.equals(format) { return false }
    return true
  }
}
