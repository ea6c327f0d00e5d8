// The topics of a directly connected device. Type and device identifier are implied by the connection.

import Bytes

/// What an incoming message is about, by its topic.
public enum TopicClass: Sendable {
  /// A command for an application's handler.
  case command(CommandTopic)
  /// The server wants something of device management done, and an answer if it gave a request identifier.
  case managementRequest(ManagementRequest)
  /// The server's answer to a request of ours.
  case managementAnswer
  /// The server says what it did not like about a message of ours, or who is connected.
  case notification
  /// Nothing of this protocol.
  case stranger
}

/// The variable levels of a command topic, as ranges of it.
public struct CommandTopic: Equatable, Sendable {
  /// The command's name.
  public let name: Range<Int>
  /// The payload's format, `json` for example.
  public let format: Range<Int>
}

/// Topics that a device publishes and subscribes to.
public enum Topics {
  /// The filter for every command in every format.
  public static var commandFilter: StaticString { "iot-2/cmd/+/fmt/+" }
  /// The filter for everything that the server has to say about device management.
  public static var managementFilter: StaticString { "iotdm-1/#" }
  /// Where a device asks to be managed.
  public static var manage: StaticString { "iotdevice-1/mgmt/manage" }
  /// Where a device tells about attributes that the server observes.
  public static var notify: StaticString { "iotdevice-1/notify" }
  /// Where a device answers whatever the server asks.
  public static var managementAnswer: StaticString { "iotdevice-1/response" }
  /// The topic of the event that reports the outcome of commands.
  public static var commandOutcome: StaticString { "iot-2/evt/command/fmt/json" }
  /// The name of that event.
  public static var commandOutcomeEvent: StaticString { "command" }
  /// The longest topic of an event: prefix, name, `/fmt/json`.
  public static var eventTopicBytesMax: Int { 10 + IdentityRules.componentBytesMax + 9 }

  /// Says what a message on `topic` is about. This is the one place where that is decided.
  public static func classify(_ topic: Span<UInt8>) -> TopicClass {
    if let command = parseCommand(topic) { return .command(command) }
    if topic.equals("iotdm-1/response") { return .managementAnswer }
    if topic.starts(with: "iotdm-1/") {
      return .managementRequest(ManagementRequest(topic: topic.extracting(8..<topic.count)))
    }
    if topic.equals("iot-2/notify") || topic.equals("iot-2/mon") { return .notification }
    return .stranger
  }

  /// Takes the topic of a custom action apart, `iotdm-1/mgmt/custom/BUNDLE/ACTION`: its name is both of them, and it
  /// has no format.
  public static func customAction(_ topic: Span<UInt8>) -> CommandTopic {
    CommandTopic(name: 20..<topic.count, format: 0..<0)
  }

  /// Takes a command topic apart; nil when it is none.
  private static func parseCommand(_ topic: Span<UInt8>) -> CommandTopic? {
    guard topic.starts(with: "iot-2/cmd/") else { return nil }
    let nameStart = 10
    guard let nameEnd = topic.firstIndex(of: UInt8(ascii: "/"), from: nameStart), nameEnd > nameStart,
      topic.extracting(nameEnd..<topic.count).starts(with: "/fmt/")
    else { return nil }
    let format = (nameEnd + 5)..<topic.count
    guard !format.isEmpty, topic.firstIndex(of: UInt8(ascii: "/"), from: format.lowerBound) == nil else { return nil }
    return CommandTopic(name: nameStart..<nameEnd, format: format)
  }
}

extension ByteBuffer {
  /// Appends `iot-2/evt/NAME/fmt/json`.
  public mutating func appendEventTopic(name: Span<UInt8>) {
    append("iot-2/evt/")
    append(name)
    append("/fmt/json")
  }
}
