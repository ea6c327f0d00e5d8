// Calls of the platform's REST interface.

/** An answer that is no success. */
export class CallError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The login is missing or over. */
export class NeedsLogin extends CallError {}

/** Calls, and gives the answer's JSON; null where there is none. */
export async function call(method, path, body, type = "application/json") {
  let response;
  try {
    response = await fetch(path, {
      method, signal: AbortSignal.timeout(20000),
      ...(body === undefined ? {} : {
        headers: { "Content-Type": type }, body: type === "application/json" && typeof body !== "string"
          ? JSON.stringify(body) : body,
      }),
    });
  } catch {
    throw new CallError(0, "The platform does not answer.");
  }
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    value = null;
  }
  if (response.ok) return value;
  throw failure(response.status, value);
}

/** Sends a file, and gives the answer's JSON; `onprogress` gets how far it is, from 0 to 1. `fetch` cannot tell that. */
export function upload(path, file, onprogress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) onprogress(event.loaded / event.total);
    };
    request.onload = () => {
      if (request.status === 201) resolve(request.response);
      else reject(failure(request.status, request.response));
    };
    request.onerror = () => reject(new CallError(0, "The platform does not answer."));
    request.send(file);
  });
}

function failure(status, value) {
  const message = value?.message ?? `The platform answered ${status}.`;
  return status === 401 ? new NeedsLogin(401, message) : new CallError(status, message);
}
