// Which program this is, and who has started it.

import Bytes
import CLinux
import HostInterface

/// The path of an image below the state folder `folder`.
@inline(never)
func imagePath(_ place: FirmwarePlace, in folder: CString) -> PathText {
  var path = PathText(folder.span)
  path.append("/firmware/")
  path.append(place.fileName)
  return path
}

/// The slot below the state folder `folder` that this process executes; nil for another program. The system says so,
/// not a path: device and number of the file.
func runningSlot(in folder: CString) -> FirmwarePlace? {
  guard let own = System.status(of: PathText(StaticString("/proc/self/exe").bytes)) else { return nil }
  for index in 0..<2 {
    let place: FirmwarePlace = index == 0 ? .slotA : .slotB
    if let slot = System.status(of: imagePath(place, in: folder)), slot.st_dev == own.st_dev, slot.st_ino == own.st_ino
    {
      return place
    }
  }
  return nil
}

/// What a supervisor and the program that it starts say to each other.
enum Supervision {
  /// The variable that has the supervisor's number.
  static var variableName: StaticString { "MOTE_SUPERVISOR" }

  /// Whether the process that has started this one says that it is a supervisor.
  static var isSupervised: Bool {
    guard let value = Environment.value(variableName) else { return false }
    return parseUnsigned(CString(value).span) == UInt64(getppid())
  }
}
