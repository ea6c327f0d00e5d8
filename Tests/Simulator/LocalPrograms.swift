// Local programs that ask the agent in the simulated world.

import Bytes
import HostInterface

extension SimulatedHost {
  var hasControlNews: Bool { false }
  mutating func takeControlNews() -> Bool { false }
  mutating func acceptControlClient() -> Bool { false }
  mutating func receiveControl(into buffer: inout ByteBuffer) -> LinkTransfer { .wouldBlock }
  mutating func sendControl(_ bytes: Span<UInt8>) -> LinkTransfer { .ended(.connectionLost) }
  mutating func closeControl() {}
  mutating func ownProcess() -> OwnProcess { OwnProcess(identifier: 1, residentBytes: 0) }
  func appendVersion(to buffer: inout ByteBuffer) { buffer.append("simulated") }
}
