// Calls of the server's API that benches make.

/** `call(base)("auth.register", input, token)`. */
export const call = (base) => async (path, input, token) => {
  const answer = await fetch(`${base}/api/trpc/${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(token ? { authorization: `Bearer ${token}` } : {}) },
    body: JSON.stringify({ json: input }),
  });
  const { result, error } = await answer.json();
  if (error) throw new Error(`${path}: ${error.json.message}`);
  return result.data.json;
};
