// The life of a message that we publish with QoS 1 or 2, as one pure function (section 4.3).

/// What a published message waits for.
public enum PublishState: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// There is no such message.
  case none
  /// QoS 1: the PUBLISH is unacknowledged until PUBACK [MQTT-4.3.2-1].
  case awaitingPuback
  /// QoS 2: the PUBLISH is unacknowledged until PUBREC [MQTT-4.3.3-1].
  case awaitingPubrec
  /// QoS 2: the PUBREL is unacknowledged until PUBCOMP; the PUBLISH must not be sent again [MQTT-4.3.3-1].
  case awaitingPubcomp

  /// What a PUBLISH with these flags waits for first; not with QoS 0.
  @inline(__always)
  init(flags: UInt8) { self = flags & 0b0100 == 0 ? .awaitingPuback : .awaitingPubrec }
}

/// The answers that move a published message on.
public enum PublishAnswer: UInt8, Equatable, Sendable, BitwiseCopyable {
  case puback, pubrec, pubcomp
}

/// What an answer makes of a published message.
public enum PublishStep: Equatable, Sendable {
  /// The server has it; the packet identifier is free again [MQTT-2.3.1-3].
  case finish
  /// The same, at QoS 1 although it was sent at QoS 2: against [MQTT-3.3.4-1], some servers (RabbitMQ) know no QoS 2
  /// and say so in this way only.
  case finishAtLeastOnce
  /// Send PUBREL, and from now on wait for PUBCOMP.
  case release
  /// Send PUBREL; nothing changes. The server has not seen the first one, or we know nothing of the message because we
  /// were restarted: then this is how both sides get rid of it.
  case repeatRelease
  /// Nothing to do: an answer to something already finished.
  case ignore
  /// The server must not do that.
  case fault(PeerFault)
}

extension PublishState {
  /// What `answer` makes of a message in this state.
  @inline(__always)
  public func step(on answer: PublishAnswer) -> PublishStep {
    switch (self, answer) {
    case (.none, .puback): .ignore
    case (.none, .pubrec): .repeatRelease
    case (.none, .pubcomp): .ignore
    case (.awaitingPuback, .puback): .finish
    case (.awaitingPuback, .pubrec): .fault(.answerOfWrongKind)
    case (.awaitingPuback, .pubcomp): .fault(.answerOfWrongKind)
    case (.awaitingPubrec, .puback): .finishAtLeastOnce
    case (.awaitingPubrec, .pubrec): .release
    case (.awaitingPubrec, .pubcomp): .fault(.answerOfWrongKind)
    case (.awaitingPubcomp, .puback): .fault(.answerOfWrongKind)
    case (.awaitingPubcomp, .pubrec): .repeatRelease
    case (.awaitingPubcomp, .pubcomp): .finish
    }
  }
}
