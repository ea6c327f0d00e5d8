// The topics of a directly connected device. Type and device identifier are implied by the connection.

import Bytes

/// Topics that a device publishes and subscribes to.
public enum Topics {
  /// The filter for every command in every format.
  public static var commandFilter: StaticString { "iot-2/cmd/+/fmt/+" }
  /// The name of the event that reports the outcome of commands.
  public static var commandOutcomeEvent: StaticString { "command" }
  /// The longest topic of an event: prefix, name, `/fmt/json`.
  public static var eventTopicBytesMax: Int { 10 + IdentityRules.componentBytesMax + 9 }

  /// Takes a command topic apart; nil when it is none.
  public static func parseCommand(_ topic: Span<UInt8>) -> CommandTopic? {
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

/// The variable levels of a command topic, as ranges of it.
public struct CommandTopic: Equatable, Sendable {
  /// The command's name.
  public let name: Range<Int>
  /// The payload's format, `json` for example.
  public let format: Range<Int>
}

extension ByteBuffer {
  /// Appends `iot-2/evt/NAME/fmt/json`.
  public mutating func appendEventTopic(name: Span<UInt8>) {
    append("iot-2/evt/")
    append(name)
    append("/fmt/json")
  }
}
