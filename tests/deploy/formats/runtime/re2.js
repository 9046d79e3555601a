// Patterns of Kubernetes are RE2's; of what they use, JavaScript's are the same.
export default (pattern, flags) => new RegExp(pattern, flags);
