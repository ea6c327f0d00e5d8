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

/** Asks for a login, and tells whether there is one then; null where the page has none. */
let askForLogin = null;

/** Learns how a login is asked for: calls wait for it, and are made again then. */
export function onLoginNeeded(ask) {
  askForLogin = ask;
}

/** Calls, and gives the answer's JSON; null where there is none. */
export async function call(method, path, body, type = "application/json") {
  try {
    return await callOnce(method, path, body, type);
  } catch (error) {
    if (!(error instanceof NeedsLogin) || path === "/api/login" || !await askForLogin?.()) throw error;
    return callOnce(method, path, body, type);
  }
}

async function callOnce(method, path, body, type) {
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
export async function upload(path, file, onprogress) {
  // Before it is sent, and not behind its last byte.
  await call("GET", "/api/v0002/device/types?_limit=1");
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
