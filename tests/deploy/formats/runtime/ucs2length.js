// Characters of a text, those beyond 16 bits counted once.
export default (text) => [...text].length;
