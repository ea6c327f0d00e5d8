// The control socket: where it is, and who may use it.

import Bytes
import HostInterface
import IoTPlatform

extension SettingsLoader {
  mutating func readControl(_ settings: inout Settings) {
    settings.agent.controlGroup = component(.controlGroup, &settings)
    settings.agent.controlOwner = component(.controlOwner, &settings)
    guard let entry = winner(.controlSocket) else { return }
    if Values.boolean(bytes(entry.value)) == false {
      settings.agent.controlSocket = settings.keep(StaticString("no").bytes)
    } else if entry.value.count > ControlFailure.pathBytesMax {
      reportFound(.error, entry, "; expected a path of at most 107 bytes, as the system has no longer ones for sockets")
    } else {
      settings.agent.controlSocket = path(.controlSocket, of: &settings)
    }
  }

  /// What is said of the control socket so far, right or wrong; empty for nothing. For whoever wants to know no more
  /// of a configuration.
  public var controlSocket: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let path = text.span.extracting(winner(.controlSocket)?.value.range ?? 0..<0)
      return _overrideLifetime(path, borrowing: self)
    }
  }
}
