// The service's API. Errors carry what the service said.
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answered(request) {
  let response;
  try {
    response = await request;
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError(0, "");
  }
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new ServiceError(response.status, content.error?.message ?? response.statusText);
  return content;
}

const json = { "Content-Type": "application/json" };

export function search(body, image, signal) {
  if (!image) {
    return answered(
      fetch("/v1/search", { method: "POST", headers: json, body: JSON.stringify(body), signal }),
    );
  }
  const form = new FormData();
  form.append("image", image, "image");
  form.append("search", JSON.stringify(body));
  return answered(fetch("/v1/search", { method: "POST", body: form, signal }));
}

export const suggest = (text, signal) =>
  answered(fetch(`/v1/suggest?${new URLSearchParams({ q: text })}`, { signal }));

export const collection = (filter, signal) =>
  answered(fetch(`/v1/collection?${new URLSearchParams({ filter: JSON.stringify(filter) })}`, { signal }));

export const item = (id) => answered(fetch(`/v1/items/${encodeURIComponent(id)}`));

export const click = (token, id) =>
  answered(
    fetch("/v1/events", {
      method: "POST",
      headers: json,
      body: JSON.stringify({ token, id }),
      keepalive: true,
    }),
  );

export const forget = () => answered(fetch("/v1/session", { method: "DELETE" }));

export async function sendToken(token) {
  const response = await fetch("/v1/access", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  return response.ok;
}
